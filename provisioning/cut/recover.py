"""Recovers the anchors of a decoder from its boxes and the heads' logits of the same picture.

YOLOv5 decodes a logit t with s = sigmoid(t) as xy = (2*s - 0.5 + cell) * stride, wh = (2*s)**2 * anchor. So every cell
gives the anchor wh / (2*s)**2. The decoder is YOLOv5's if all cells of an anchor agree and all centres fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import numpy.typing as npt

from edged.core.errors import DataError
from edged.core.types import Floats

SIZE_TOLERANCE = 1e-3  # relative
SMALLEST_FACTOR = 1e-4  # of (2*s)**2; cells with a smaller one are ignored
CENTRE_TOLERANCE_PX = 0.01
# On random pictures all scores are small: only a relative tolerance shows that classes are in another order.
SCORE_TOLERANCE = 1e-3  # relative
SCORE_NOISE = 1e-6  # absolute; implementations of the sigmoid differ by this

Anchors = tuple[tuple[tuple[float, float], ...], ...]


def recover_anchors(decoded: Floats, logits: Sequence[Floats], *, strides: Sequence[int]) -> Anchors:
    """The anchors that the decoder used, smallest stride first.

    Args:
        decoded: (N, 5+classes) float, output of the decoder: x, y, w, h in network pixels, objectness, classes.
        logits: of each head, smallest stride first, (A, 5+classes, H, W) float.
        strides: of the heads, pixels.

    Raises:
        DataError: the decoder is not YOLOv5's.
    """
    cells = [head.transpose(0, 2, 3, 1).reshape(-1, head.shape[1]) for head in logits]  # (A*H*W, 5+classes)
    worst = ""
    for order in permutations(range(len(cells))):  # exports differ in the order of the heads
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


def same_scores(got: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> bool:
    """Whether two arrays of the same shape hold the same scores, within the rounding of different runtimes."""
    return bool(np.allclose(got, expected, rtol=SCORE_TOLERANCE, atol=SCORE_NOISE))


class _OtherError(Exception):
    """These boxes do not follow from these logits."""


def _head_anchors(boxes: Floats, logits: Floats, *, stride: int) -> tuple[tuple[float, float], ...]:
    """The anchors of one head.

    Args:
        boxes: (A*H*W, 5+classes) decoded, in the order anchor, row, column.
        logits: (A, 5+classes, H, W).
        stride: network pixels per cell.
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
        # With tiny factors, float32 has lost too many digits.
        sizes = np.where(factor > SMALLEST_FACTOR, got[..., 2:4] / factor, np.nan)
    if np.isnan(sizes).all(axis=(1, 2)).any():
        raise _OtherError(f"at stride {stride} it shows no box large enough to tell the anchors")
    middle = np.nanmedian(sizes.reshape(anchors, -1, 2), axis=1)  # (A, 2)
    expected = factor * middle[:, None, None]
    off_size = (np.abs(got[..., 2:4] - expected) / (expected + CENTRE_TOLERANCE_PX)).max()
    if not off_size <= SIZE_TOLERANCE:
        raise _OtherError(f"at stride {stride} its anchors differ by {off_size:.3g} from cell to cell")
    # Anchors are written with few digits; rounding removes the error of float32 arithmetic.
    return tuple((round(float(w), 3), round(float(h), 3)) for w, h in middle)
