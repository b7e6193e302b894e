"""Greedy, class-aware non-maximum suppression, deterministic to the last bit.

Boxes are taken by falling score (ties: the order in which they came); each one kept removes the boxes of its own class
whose IoU with it exceeds the threshold. Neubeck & Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edged.core.boxes import box_iou
from edged.core.limits import MAX_CANDIDATES, MAX_DETECTIONS
from edged.core.types import Floats, Ints


def nms(
    xyxy: Floats,
    score: Floats,
    class_id: Ints,
    *,
    iou_threshold: float,
    max_detections: int = MAX_DETECTIONS,
) -> npt.NDArray[np.intp]:
    """Indices of the boxes that stay, by falling score.

    Args:
        xyxy: (N, 4) float32, any frame.
        score: (N,) float32.
        class_id: (N,) int32; only boxes of one class suppress each other.
        iou_threshold: 0..1; a box goes when its IoU with a better one is above it.
        max_detections: how many stay at most.

    Returns:
        (K,) intp, K <= max_detections. Of more than MAX_CANDIDATES boxes only the best take part.
    """
    rest = np.argsort(-score, kind="stable")[:MAX_CANDIDATES]
    limit = np.float32(iou_threshold)
    kept: list[np.intp] = []
    while len(rest) and len(kept) < max_detections:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        beaten = (box_iou(xyxy[best][None], xyxy[rest])[0] > limit) & (class_id[rest] == class_id[best])
        rest = rest[~beaten]
    return np.array(kept, np.intp)
