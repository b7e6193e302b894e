"""Greedy, class-aware non-maximum suppression (NMS), deterministic to the last bit.

Boxes are taken by falling score (ties: in the order given); each kept box removes the boxes of its own class whose
IoU with it exceeds the threshold. Neubeck & Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edged.core.boxes import box_area
from edged.core.limits import MAX_CANDIDATES, MAX_DETECTIONS
from edged.core.types import Floats, Ints

_Flags = npt.NDArray[np.bool_]

_BLOCK = 128  # boxes compared at once: their (128, 128) matrices fit into the cache
LEAST_AREA = np.finfo(np.float32).smallest_subnormal  # divisor in place of an empty union


def nms(
    xyxy: Floats,
    score: Floats,
    class_id: Ints,
    *,
    iou_threshold: float,
    max_detections: int = MAX_DETECTIONS,
) -> npt.NDArray[np.intp]:
    """Indices of the kept boxes, by falling score.

    Args:
        xyxy: (N, 4) float32, any frame.
        score: (N,) float32.
        class_id: (N,) int32; only boxes of one class suppress each other.
        iou_threshold: 0..1; a box is removed when its IoU with a kept one is above it.
        max_detections: most boxes that are kept.

    Returns:
        (K,) intp, K <= max_detections. Of more than MAX_CANDIDATES boxes only the best take part.
    """
    order = (-score).argsort(kind="stable")[:MAX_CANDIDATES]
    better = xyxy[:0], class_id[:0]  # kept so far
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        boxes, classes = xyxy[block], class_id[block]
        if len(kept):
            free = ~_beats(*better, boxes, classes, iou_threshold).any(axis=0)
            block, boxes, classes = block[free], boxes[free], classes[free]
        stay = _survivors(_beats(boxes, classes, boxes, classes, iou_threshold), most=max_detections - len(kept))
        kept = np.concatenate((kept, block[stay]))
        if len(kept) == max_detections:
            break
        better = xyxy[kept], class_id[kept]
    return kept


def _beats(better: Floats, better_class: Ints, worse: Floats, worse_class: Ints, limit: float) -> _Flags:
    """(B, W) bool: whether each of `better` removes each of `worse`: same class, and an IoU above `limit`."""
    left, top, right, bottom = np.ascontiguousarray(better.T)[:, :, None]  # (B, 1) each
    left_w, top_w, right_w, bottom_w = np.ascontiguousarray(worse.T)  # (W,) each
    shared = np.minimum(right, right_w)  # (B, W)
    shared -= np.maximum(left, left_w)
    np.maximum(shared, 0, out=shared)
    height = np.minimum(bottom, bottom_w)
    height -= np.maximum(top, top_w)
    shared *= height  # negative where the boxes are apart: below any limit
    union = box_area(better)[:, None] + box_area(worse)
    union -= shared
    # Where the union is empty, the intersection is 0, and so is the quotient.
    shared /= np.maximum(union, LEAST_AREA, out=union)
    beats: _Flags = (shared > np.float32(limit)) & (better_class[:, None] == worse_class)
    return beats


def _survivors(beats: _Flags, *, most: int) -> list[int]:
    """Greedy choice among N boxes by falling score: indices of up to `most` kept ones. `beats`: (N, N) bool."""
    # Sets of boxes are bits of Python integers, which saves numpy calls.
    packed = np.packbits(beats, axis=1, bitorder="little")
    rows, width = packed.tobytes(), packed.shape[1]
    left = (1 << len(beats)) - 1
    stay: list[int] = []
    while left and len(stay) < most:
        best = (left & -left).bit_length() - 1
        stay.append(best)
        left &= ~(int.from_bytes(rows[best * width : (best + 1) * width], "little") | 1 << best)
    return stay
