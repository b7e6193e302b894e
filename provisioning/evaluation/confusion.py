"""Counts which classes are confused, in a matrix with the background as one more class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edged.core.types import Detections, Floats, Ints
from provisioning.evaluation.matching import pairwise_iou

CONFIDENCE = 0.25  # only detections above it count
IOU = 0.45  # of a pair, must be above


class ConfusionMatrix:
    """Counts pairs of detections and labelled objects, also those of different classes.

    Args:
        names: the C classes, by class id.

    Attributes:
        counts: (C+1, C+1) int64, found class by labelled class. The last row counts objects that were not found, the
            last column detections without an object.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.counts: npt.NDArray[np.int64] = np.zeros((len(names) + 1,) * 2, np.int64)

    def add(self, found: Detections, *, true_xyxy: Floats, true_class: Ints) -> None:
        """Add one picture. Pairs are formed by descending IoU above `IOU`; each object and detection is used once.

        Args:
            found: detections; those with a confidence up to `CONFIDENCE` are ignored.
            true_xyxy: (M, 4) float32, in the same pixels.
            true_class: (M,) int32.
        """
        sure = found.confidence > CONFIDENCE
        detected_class = found.class_id[sure]
        iou = pairwise_iou(found.xyxy[sure], true_xyxy)
        background = len(self.names)
        free_found, free_true = np.ones(len(detected_class), np.bool_), np.ones(len(true_class), np.bool_)
        rows, columns = np.nonzero(iou > IOU)
        for place in np.argsort(-iou[rows, columns], kind="stable"):
            row, column = rows[place], columns[place]
            if free_found[row] and free_true[column]:
                free_found[row] = free_true[column] = False
                self.counts[detected_class[row], true_class[column]] += 1
        self.counts[:, background] += np.bincount(detected_class[free_found], minlength=background + 1)
        self.counts[background] += np.bincount(true_class[free_true], minlength=background + 1)
