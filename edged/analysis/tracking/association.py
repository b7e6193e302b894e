"""Which detection is which tracked object: buffered overlap, and the assignment with the largest sum."""

from __future__ import annotations

import lap
import numpy as np
import numpy.typing as npt

from edged.analysis.tracking.motion import Doubles

Rows = npt.NDArray[np.intp]


def overlap(a: Doubles, b: Doubles, *, buffer: float = 0.0) -> Doubles:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4) as corners, each enlarged on every side.

    Args:
        a, b: finite boxes, x1 < x2, y1 < y2.
        buffer: share of its width and height by which each box grows on each side, >= 0.

    Source: buffered IoU of C-BIoU (arXiv 2211.14317).
    """
    if buffer:
        a, b = _grown(a, buffer), _grown(b, buffer)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.maximum(high - low, 0.0)  # (N, M, 2)
    shared = inside[..., 0] * inside[..., 1]
    likeness: Doubles = shared / (_areas(a)[:, None] + _areas(b)[None, :] - shared)
    return likeness


def _grown(boxes: Doubles, buffer: float) -> Doubles:
    more = buffer * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - more, boxes[:, 2:] + more], axis=1)


def _areas(boxes: Doubles) -> Doubles:
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]


def assign(likeness: Doubles, *, least: float) -> tuple[Rows, Rows]:
    """Rows and columns of the one-to-one pairs whose likeness sums up to the most, none below `least`.

    Args:
        likeness: (N, M), 0..1.
        least: above 0.
    """
    likely = likeness >= least
    rows, columns = likely.nonzero()
    if len({*rows.tolist()}) == len({*columns.tolist()}) == len(rows):
        return rows, columns  # nobody competes
    _, column_of, _ = lap.lapjv(np.where(likely, 1 - likeness, 2.0), extend_cost=True, cost_limit=1.0)
    rows = (column_of >= 0).nonzero()[0]
    columns = column_of[rows].astype(np.intp)
    true = likely[rows, columns]
    return rows[true], columns[true]
