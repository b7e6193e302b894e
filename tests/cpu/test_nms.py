"""Greedy class-aware NMS against plain loops, and the properties that people rely on."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.core.limits import MAX_CANDIDATES
from edged.core.types import Floats, Ints
from edged.cpu.nms import nms


def random_boxes(seed: int, count: int, *, classes: int = 3, levels: int = 0) -> tuple[Floats, Floats, Ints]:
    rng = np.random.default_rng(seed)
    corner = rng.random((count, 2), dtype=np.float32) * 100
    size = rng.random((count, 2), dtype=np.float32) * 60
    score = rng.random(count, dtype=np.float32)
    if levels:
        score = (np.floor(score * levels) / levels).astype(np.float32)
    return np.hstack((corner, corner + size)), score, rng.integers(0, classes, count).astype(np.int32)


def plain_iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    inter = float(w) * float(h)
    return inter / (float(a[2] - a[0]) * float(a[3] - a[1]) + float(b[2] - b[0]) * float(b[3] - b[1]) - inter)


def plain_nms(xyxy: Floats, score: Floats, class_id: Ints, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(score)), key=lambda i: (-score[i], i)):
        if all(class_id[i] != class_id[k] or plain_iou(xyxy[i], xyxy[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("count", [0, 1, 2, 40, 200, 500], ids=lambda count: f"{count}-boxes")
@pytest.mark.parametrize("levels", [0, 4], ids=["distinct", "ties"])
def test_nms_equals_plain_loops(count: int, levels: int) -> None:
    for seed in range(5):
        boxes = random_boxes(seed, count, levels=levels)
        assert nms(*boxes, iou_threshold=0.45, max_detections=count).tolist() == plain_nms(*boxes, 0.45)


def test_nms_of_one_class_equals_opencv() -> None:
    xyxy, score, class_id = random_boxes(9, 300, classes=1)
    xywh = np.hstack((xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]))
    theirs = cv2.dnn.NMSBoxes(xywh.tolist(), score.tolist(), 0.0, 0.45)
    assert nms(xyxy, score, class_id, iou_threshold=0.45).tolist() == np.array(theirs).ravel().tolist()


@given(st.integers(0, 10_000), st.integers(0, 60), st.floats(0, 1))
def test_nms_twice_is_once(seed: int, count: int, threshold: float) -> None:
    xyxy, score, class_id = random_boxes(seed, count, levels=5)
    once = nms(xyxy, score, class_id, iou_threshold=threshold)
    again = nms(xyxy[once], score[once], class_id[once], iou_threshold=threshold)
    assert again.tolist() == list(range(len(once)))


def test_nms_keeps_empty_and_equal_boxes_apart_as_iou_says() -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 9, 9], [0, 0, 9, 9]], np.float32)
    score = np.array([0.4, 0.3, 0.9, 0.8], np.float32)
    kept = nms(boxes, score, np.zeros(4, np.int32), iou_threshold=0.45)
    assert kept.tolist() == [2, 0, 1]  # boxes without area overlap with nothing


def test_nms_keeps_at_most_max_detections_the_best() -> None:
    xyxy, score, _ = random_boxes(3, 100)
    apart = np.arange(100, dtype=np.int32)
    kept = nms(xyxy, score, apart, iou_threshold=0.45, max_detections=7)
    assert kept.tolist() == np.argsort(-score, kind="stable")[:7].tolist()


def test_nms_of_more_than_the_limit_considers_the_best() -> None:
    count = MAX_CANDIDATES + 10
    score = np.linspace(0.1, 0.9, count, dtype=np.float32)  # the best last
    xyxy = np.tile(np.array([[0, 0, 9, 9]], np.float32), (count, 1))
    class_id = np.zeros(count, np.int32)
    class_id[:10] = 1  # these would stay, were they not beyond the limit
    assert nms(xyxy, score, class_id, iou_threshold=0.45).tolist() == [count - 1]


@pytest.mark.parametrize("most", [1, 127, 128, 129, 200])
def test_nms_of_many_boxes_ends_at_max_detections_wherever_that_falls(most: int) -> None:
    boxes = random_boxes(4, 600, classes=40)
    everything = nms(*boxes, iou_threshold=0.45, max_detections=1000)
    assert len(everything) > 200
    assert nms(*boxes, iou_threshold=0.45, max_detections=most).tolist() == everything[:most].tolist()
