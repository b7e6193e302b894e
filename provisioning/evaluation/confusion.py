"""Which classes are taken for which: a confusion matrix with the background as one more class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edged.core.types import Detections, Floats, Ints
from provisioning.evaluation.matching import pairwise_iou

CONFIDENCE = 0.25
IOU = 0.45


class ConfusionMatrix:
    """Counts pairs of found and labelled objects, whatever their classes.

    Args:
        names: the classes.

    Attributes:
        counts: (C+1, C+1) int64: found class by labelled class; the last row is what was missed, the last column what
            was found where nothing is.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.counts: npt.NDArray[np.int64] = np.zeros((len(names) + 1,) * 2, np.int64)

    def add(self, found: Detections, *, true_xyxy: Floats, true_class: Ints) -> None:
        """One picture. Pairs are made by falling IoU, at least `IOU`, each object and detection once."""
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
