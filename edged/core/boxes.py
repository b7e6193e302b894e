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
