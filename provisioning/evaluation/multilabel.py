"""YOLOv5's decode for evaluation: a box counts for every class with enough score, not only for its best class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edged.core.boxes import box_cxcywh_to_xyxy
from edged.core.types import Floats
from edged.cpu.decode import Candidates


def decode_multi_label(
    heads: Sequence[Floats], *, anchors: Sequence[Floats], strides: Sequence[int], threshold: float
) -> Candidates:
    """All pairs of box and class whose objectness, and its product with the class score, are above `threshold`.

    Args:
        heads: for each stride, (A * (5 + C), H, W) float32, sigmoided.
        anchors: for each stride, (A, 2) float32, network pixels.
        strides: network pixels per cell.
        threshold: 0..1.
    """
    parts = [
        _decode(head, sizes, stride, threshold) for head, sizes, stride in zip(heads, anchors, strides, strict=True)
    ]
    return Candidates(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.class_id for part in parts]),
    )


def _decode(head: Floats, sizes: Floats, stride: int, threshold: float) -> Candidates:
    width = head.shape[2]
    cells = head.reshape(len(sizes), -1, head.shape[1] * width).transpose(0, 2, 1)  # (A, H*W, 5 + C)
    anchor, cell = np.nonzero(cells[..., 4] > threshold)
    picked = cells[anchor, cell]  # (K, 5 + C)
    grid = np.stack((cell % width, cell // width), axis=1)
    centre = (picked[:, :2] * 2 - 0.5 + grid) * stride
    size = np.square(picked[:, 2:4] * 2) * sizes[anchor]
    xyxy = box_cxcywh_to_xyxy(np.concatenate((centre, size), axis=1).astype(np.float32))
    scores = picked[:, 5:] * picked[:, 4:5]  # (K, C)
    row, class_id = np.nonzero((scores > threshold) & np.isfinite(xyxy).all(axis=1, keepdims=True))
    return Candidates(xyxy[row], scores[row, class_id].astype(np.float32), class_id.astype(np.int32))
