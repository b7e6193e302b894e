from __future__ import annotations

import numpy as np

from edged.core.types import Detections
from provisioning.evaluation.confusion import ConfusionMatrix

BOX = [[0, 0, 10, 10]]
FAR = [[50, 50, 60, 60]]


def found(boxes: list[list[int]], confidence: list[float], class_id: list[int]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(confidence, np.float32), np.array(class_id, np.int32)
    )


def counts(detections: Detections, boxes: list[list[int]], class_id: list[int]) -> list[list[int]]:
    matrix = ConfusionMatrix(["a", "b"])
    matrix.add(
        detections, true_xyxy=np.array(boxes, np.float32).reshape(-1, 4), true_class=np.array(class_id, np.int32)
    )
    table: list[list[int]] = matrix.counts.tolist()
    return table


def test_confusion_of_nothing_is_zero() -> None:
    assert counts(Detections.empty(), [], []) == [[0, 0, 0]] * 3


def test_confusion_counts_right_wrong_missed_and_invented() -> None:
    assert counts(found(BOX, [0.9], [0]), BOX, [0]) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert counts(found(BOX, [0.9], [1]), BOX, [0]) == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert counts(Detections.empty(), BOX, [1]) == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert counts(found(FAR, [0.9], [1]), BOX, [0]) == [[0, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_confusion_ignores_unsure_detections() -> None:
    assert counts(found(BOX, [0.2], [0]), BOX, [0]) == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_confusion_pairs_the_best_overlap_once() -> None:
    pair = found([[0, 0, 10, 9], [0, 0, 10, 10]], [0.9, 0.8], [0, 1])
    assert counts(pair, BOX, [1]) == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
