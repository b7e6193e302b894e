"""Anchors from a decoder that runs: boxes and logits of the same picture tell what lies between them.

YOLOv5 decodes a logit t with s = sigmoid(t) as xy = (2*s - 0.5 + cell) * stride, wh = (2*s)**2 * anchor. So every
cell gives wh / (2*s)**2, and a decoder is YOLOv5's exactly when all cells of an anchor agree and all centres fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from edged.core.errors import DataError
from edged.core.types import Floats

SIZE_TOLERANCE = 1e-3  # relative
SMALLEST_FACTOR = 1e-4
CENTRE_TOLERANCE_PX = 0.01
# Far from what a network was trained on its scores are small: classes in another order show in proportions only.
SCORE_TOLERANCE = 1e-3  # relative
SCORE_NOISE = 1e-6  # what sigmoids of different make differ by

Anchors = tuple[tuple[tuple[float, float], ...], ...]


def recover_anchors(decoded: Floats, logits: Sequence[Floats], *, strides: Sequence[int]) -> Anchors:
    """The anchors that the decoder used, by rising stride.

    Args:
        decoded: (N, 5+classes) what the decoder gave: x, y, w, h in network pixels, objectness, classes.
        logits: per head by rising stride, (A, 5+classes, H, W).
        strides: of the heads, pixels.

    Raises:
        DataError: it is not YOLOv5's decode.
    """
    cells = [head.transpose(0, 2, 3, 1).reshape(-1, head.shape[1]) for head in logits]  # (A*H*W, 5+classes)
    worst = ""
    for order in permutations(range(len(cells))):  # exports differ in which head comes first
        ends = np.cumsum([len(cells[head]) for head in order])[:-1]
        parts = dict(zip(order, np.split(decoded, ends), strict=True))
        try:
            return tuple(
                _head_anchors(parts[index], head, stride=stride)
                for index, (head, stride) in enumerate(zip(logits, strides, strict=True))
            )
        except _OtherError as exc:
            worst = worst or str(exc)
    raise DataError(f"its decode is not YOLOv5's: {worst}", remedy="export the model without decode, or import the .pt")


def same_scores(got: Floats, expected: Floats) -> bool:
    """Whether two arrays of the same shape hold the same scores, but for arithmetic."""
    return bool(np.allclose(got, expected, rtol=SCORE_TOLERANCE, atol=SCORE_NOISE))


class _OtherError(Exception):
    """These boxes do not follow from these logits."""


def _head_anchors(boxes: Floats, logits: Floats, *, stride: int) -> tuple[tuple[float, float], ...]:
    """The anchors of one head.

    Args:
        boxes: (A*H*W, 5+classes) decoded, anchor by anchor, row by row.
        logits: (A, 5+classes, H, W).
        stride: pixels a cell.
    """
    anchors, _, height, width = logits.shape
    with np.errstate(over="ignore"):
        scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).transpose(0, 2, 3, 1)  # (A, H, W, 5+classes)
    got = boxes.reshape(scores.shape).astype(np.float64)
    cell = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)  # (H, W, 2)
    off_centre = np.abs((2 * scores[..., :2] - 0.5 + cell) * stride - got[..., :2]).max()
    off_score = np.abs(scores[..., 4:] - got[..., 4:]).max()
    if not (off_centre <= CENTRE_TOLERANCE_PX and same_scores(got[..., 4:], scores[..., 4:])):
        raise _OtherError(
            f"at stride {stride} its centres are up to {off_centre:.3g} pixels and its scores up to {off_score:.3g} off"
        )
    factor = (2 * scores[..., 2:4]) ** 2  # (A, H, W, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Tiny factors have lost their digits in float32; they take no part.
        sizes = np.where(factor > SMALLEST_FACTOR, got[..., 2:4] / factor, np.nan)
    if np.isnan(sizes).all(axis=(1, 2)).any():
        raise _OtherError(f"at stride {stride} it shows no box large enough to tell the anchors")
    middle = np.nanmedian(sizes.reshape(anchors, -1, 2), axis=1)  # (A, 2)
    expected = factor * middle[:, None, None]
    off_size = (np.abs(got[..., 2:4] - expected) / (expected + CENTRE_TOLERANCE_PX)).max()
    if not off_size <= SIZE_TOLERANCE:
        raise _OtherError(f"at stride {stride} its anchors differ by {off_size:.3g} from cell to cell")
    # Anchors are written with few digits; float32 arithmetic has blurred the last of them.
    return tuple((round(float(w), 3), round(float(h), 3)) for w, h in middle)
