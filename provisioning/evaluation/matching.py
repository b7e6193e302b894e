"""Matches detections with objects: COCO's greedy matching, at ten IoU thresholds at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edged.core.types import Floats, Ints

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


def pairwise_iou(a: Floats, b: Floats) -> Doubles:
    """IoU of (N, 4) and (M, 4) xyxy boxes, (N, M) float64; in double precision, as it is compared with thresholds."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = np.clip(bottom_right - top_left, 0, None).prod(axis=2)  # (N, M)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - overlap
    iou: Doubles = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


def match_detections(iou: Doubles, detected_class: Ints, true_class: Ints) -> Bools:
    """Whether each detection finds an object, at each threshold, by the rules of `matched_objects`.

    Args:
        iou: (N, M) float64, detections by descending score against objects.
        detected_class: (N,) int32.
        true_class: (M,) int32.

    Returns:
        (N, 10) bool, a column for each of `IOU_THRESHOLDS`.
    """
    return matched_objects(iou, detected_class, true_class) >= 0


def matched_objects(iou: Doubles, detected_class: Ints, true_class: Ints) -> Ints:
    """The object that each detection finds, at each threshold.

    Each detection, best score first, gets the object of its class with the highest IoU that is still free, if the IoU
    reaches the threshold. Of equal IoUs the last counts, as in pycocotools.

    Args:
        iou: (N, M) float64, detections by descending score against objects.
        detected_class: (N,) int32.
        true_class: (M,) int32.

    Returns:
        (N, 10) int32, a column for each of `IOU_THRESHOLDS`: the object's index, -1 for none.
    """
    taken = np.full((len(detected_class), len(IOU_THRESHOLDS)), -1, np.int32)
    if not iou.size:
        return taken
    limits = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    overlaps = np.where(detected_class[:, None] == true_class[None, :], iou, -1.0)
    free = np.ones((len(limits), len(true_class)), np.bool_)  # (T, M)
    columns = np.arange(len(limits))
    for row in np.flatnonzero(overlaps.max(axis=1) >= limits[0]):
        candidates = np.where(free, overlaps[row][None], -1.0)[:, ::-1]  # (T, M), reversed: argmax gives the last
        best = candidates.argmax(axis=1)
        found = candidates[columns, best] >= limits
        partner = len(true_class) - 1 - best
        free[columns[found], partner[found]] = False
        taken[row] = np.where(found, partner, -1)
    return taken
