"""Box arithmetic in numpy, float32 throughout so that every backend can repeat it bit by bit."""

from __future__ import annotations

import numpy as np

from edged.core.types import Floats


def box_cxcywh_to_xyxy(boxes: Floats) -> Floats:
    """(N, 4) float32 centre-x, centre-y, width, height -> (N, 4) float32 x1, y1, x2, y2."""
    half = boxes[:, 2:] / np.float32(2)  # (N, 2)
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)


def box_xyxy_to_cxcywh(boxes: Floats) -> Floats:
    """(N, 4) float32 x1, y1, x2, y2 -> (N, 4) float32 centre-x, centre-y, width, height."""
    size = boxes[:, 2:] - boxes[:, :2]  # (N, 2)
    return np.concatenate((boxes[:, :2] + size / np.float32(2), size), axis=1)


def box_area(xyxy: Floats) -> Floats:
    """(N, 4) float32 -> (N,) float32, square pixels."""
    area: Floats = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    return area


def box_iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every pair; 0 where both boxes are empty.

    Args:
        a: (N, 4) float32 xyxy.
        b: (M, 4) float32 xyxy, the same frame.

    Returns:
        (N, M) float32 in 0..1.
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])  # (N, M, 2)
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])  # (N, M, 2)
    sides = np.maximum(bottom_right - top_left, np.float32(0))
    intersection = sides[..., 0] * sides[..., 1]  # (N, M)
    union = box_area(a)[:, None] + box_area(b)[None, :] - intersection
    iou: Floats = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return iou
