"""Precision, recall and average precision by COCO's definition, from detections and labelled objects.

Source: the documentation of pycocotools' `COCOeval`: precision is made monotonic and read at 101 recalls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edged.core.types import Detections, Floats, Ints
from provisioning.evaluation.matching import IOU_THRESHOLDS, Bools, Doubles, match_detections, pairwise_iou

RECALL_POINTS = np.linspace(0, 1, 101)
CONFIDENCE_POINTS = np.linspace(0, 1, 1001)
_SMOOTHING = 0.1  # share of the F1 curve that is averaged before its maximum is taken, against peaks of one picture


@dataclass(frozen=True, slots=True, eq=False)
class ClassResult:
    """How well one class was found.

    Attributes:
        pictures: number of pictures with the class.
        instances: number of labelled objects.
        ap: (10,) float64, average precision at each of `IOU_THRESHOLDS`.
        precision_at_recall: (101,) float64, at IoU 0.5 for each of `RECALL_POINTS`.
        precision, recall: (1001,) float64, at IoU 0.5 for each of `CONFIDENCE_POINTS`.
    """

    pictures: int
    instances: int
    ap: Doubles
    precision_at_recall: Doubles
    precision: Doubles
    recall: Doubles

    @property
    def f1(self) -> Doubles:
        """(1001,) float64, harmonic mean of precision and recall at `CONFIDENCE_POINTS`."""
        total = self.precision + self.recall
        f1: Doubles = np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)
        return f1


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The metrics of a whole split.

    Attributes:
        names: all classes of the data set, by class id.
        pictures: number of pictures.
        by_class: result by class id, for classes with labelled objects.
    """

    names: tuple[str, ...]
    pictures: int
    by_class: Mapping[int, ClassResult]

    @property
    def map50(self) -> float:
        """Mean over classes of the average precision at IoU 0.5; 0 without labelled objects."""
        return self._mean([float(result.ap[0]) for result in self.by_class.values()])

    @property
    def map50_95(self) -> float:
        """Mean over classes and `IOU_THRESHOLDS` of the average precision; 0 without labelled objects."""
        return self._mean([float(result.ap.mean()) for result in self.by_class.values()])

    @property
    def best_confidence(self) -> float:
        """Confidence at which the smoothed mean F1 of the classes is highest; P and R are read there."""
        return float(CONFIDENCE_POINTS[self._best_place()])

    def precision_recall(self, class_id: int) -> tuple[float, float]:
        """Precision and recall of a class at `best_confidence` and IoU 0.5.

        Raises:
            KeyError: the class has no labelled objects.
        """
        place, result = self._best_place(), self.by_class[class_id]
        return float(result.precision[place]), float(result.recall[place])

    @property
    def mean_precision_recall(self) -> tuple[float, float]:
        """Precision and recall at `best_confidence` and IoU 0.5, each the mean over the classes."""
        pairs = [self.precision_recall(class_id) for class_id in self.by_class]
        return self._mean([pair[0] for pair in pairs]), self._mean([pair[1] for pair in pairs])

    @property
    def instances(self) -> int:
        """Number of labelled objects of all classes."""
        return sum(result.instances for result in self.by_class.values())

    def _best_place(self) -> int:
        if not self.by_class:
            return 0
        mean = np.mean([result.f1 for result in self.by_class.values()], axis=0)
        return int(smooth(mean).argmax())

    @staticmethod
    def _mean(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else 0.0


class Evaluator:
    """Collects the results of pictures, then computes the metrics.

    Args:
        names: the classes, by class id.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._right: list[Bools] = []
        self._confidence: list[Floats] = []
        self._detected: list[Ints] = []
        self._true: list[Ints] = []

    def add(self, found: Detections, *, true_xyxy: Floats, true_class: Ints) -> None:
        """Add one picture.

        Args:
            found: detections, by descending confidence.
            true_xyxy: (M, 4) float32, labelled boxes in the same pixels.
            true_class: (M,) int32.
        """
        iou = pairwise_iou(found.xyxy, true_xyxy)
        self._right.append(match_detections(iou, found.class_id, true_class))
        self._confidence.append(found.confidence)
        self._detected.append(found.class_id)
        self._true.append(true_class)

    def result(self) -> Evaluation:
        """The metrics of all pictures so far."""
        by_class = {}
        if self._true:
            right, detected = np.concatenate(self._right), np.concatenate(self._detected)
            confidence = np.concatenate(self._confidence).astype(np.float64)
            for class_id in np.unique(np.concatenate(self._true)):
                mine = detected == class_id
                order = np.argsort(-confidence[mine], kind="stable")
                counts = [int((true == class_id).sum()) for true in self._true]
                by_class[int(class_id)] = _class_result(right[mine][order], confidence[mine][order], counts)
        return Evaluation(names=self._names, pictures=len(self._true), by_class=by_class)


def smooth(curve: Doubles, share: float = _SMOOTHING) -> Doubles:
    """Moving average of a curve (N,) over `share` of its length; the end values are repeated."""
    width = round(len(curve) * share) // 2 * 2 + 1
    padded = np.pad(curve, width // 2, mode="edge")
    smoothed: Doubles = np.convolve(padded, np.ones(width) / width, mode="valid")
    return smoothed


def _class_result(right: Bools, confidence: Doubles, counts: Sequence[int]) -> ClassResult:
    """Metrics of a class: `right` (N, 10), `confidence` (N,) descending, `counts` objects in each picture."""
    instances = sum(counts)
    hits = right.cumsum(axis=0)  # (N, 10)
    recall = hits / instances
    precision = hits / np.arange(1, len(right) + 1)[:, None]
    tables = [_interpolated(recall[:, t], precision[:, t]) for t in range(len(IOU_THRESHOLDS))]
    return ClassResult(
        pictures=sum(1 for count in counts if count),
        instances=instances,
        ap=np.array([table.mean() for table in tables]),
        precision_at_recall=tables[0],
        precision=_at_confidence(confidence, precision[:, 0], nothing=1.0),
        recall=_at_confidence(confidence, recall[:, 0], nothing=0.0),
    )


def _interpolated(recall: Doubles, precision: Doubles) -> Doubles:
    """(N,) -> (101,): the best precision at each recall or above; 0 if that is never reached."""
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    table: Doubles = envelope[np.searchsorted(recall, RECALL_POINTS, side="left")]
    return table


def _at_confidence(confidence: Doubles, values: Doubles, *, nothing: float) -> Doubles:
    """(N,) by descending confidence -> (1001,): the value if only detections above each point count."""
    kept = np.searchsorted(-confidence, -CONFIDENCE_POINTS, side="left")  # detections with confidence > point
    table: Doubles = np.append(nothing, values)[kept]
    return table
