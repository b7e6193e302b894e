from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edged.core.types import Detections
from provisioning.evaluation.metrics import Evaluation, Evaluator, smooth
from tests.provisioning.evaluation.boxes import Picture, random_picture

AGREEMENT = 0.002


def evaluate(pictures: Sequence[Picture], classes: int) -> Evaluation:
    evaluator = Evaluator([f"class{number}" for number in range(classes)])
    for picture in pictures:
        evaluator.add(picture.found, true_xyxy=picture.xyxy, true_class=picture.class_id)
    return evaluator.result()


def coco_map(pictures: Sequence[Picture], classes: int) -> tuple[float, float]:
    """mAP50 and mAP50-95 as pycocotools computes them, 300 detections a picture."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, picture in enumerate(pictures, start=1):
        for (x1, y1, x2, y2), class_id in zip(picture.xyxy.tolist(), picture.class_id.tolist(), strict=True):
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image,
                    "category_id": class_id,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
        boxes = zip(
            picture.found.xyxy.tolist(), picture.found.confidence.tolist(), picture.found.class_id.tolist(), strict=True
        )
        for (x1, y1, x2, y2), score, class_id in boxes:
            box = [x1, y1, x2 - x1, y2 - y1]
            found.append({"image_id": image, "category_id": class_id, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(1, len(pictures) + 1)],
            "categories": [{"id": number} for number in range(classes)],
            "annotations": truth,
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found), "bbox")
        run.params.maxDets = [1, 10, 300]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, 2]  # (thresholds, recalls, classes)
    known = precision[precision > -1]
    at_half = precision[0][precision[0] > -1]
    return float(at_half.mean()), float(known.mean())


@pytest.mark.parametrize(
    ("seed", "classes", "ties"),
    [(0, 1, False), (1, 3, False), (2, 8, False), (3, 3, True), (4, 1, True)],
)
def test_metrics_agree_with_pycocotools(seed: int, classes: int, ties: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    pictures = [random_picture(rng, classes=classes, ties=ties) for _ in range(60)]
    result = evaluate(pictures, classes)
    expected = coco_map(pictures, classes)
    assert 0.1 < expected[1] < 0.9
    assert (result.map50, result.map50_95) == pytest.approx(expected, abs=1e-9 if not ties else AGREEMENT)


def perfect(count: int) -> Picture:
    corner = np.arange(count, dtype=np.float32)[:, None] * 20 * np.ones((1, 2), np.float32)
    xyxy = np.concatenate((corner, corner + 10), axis=1)
    class_id = np.zeros(count, np.int32)
    return Picture(xyxy, class_id, Detections(xyxy, np.linspace(0.9, 0.6, count, dtype=np.float32), class_id))


def nothing() -> Picture:
    empty = Detections.empty()
    return Picture(empty.xyxy, empty.class_id, empty)


def test_metrics_of_nothing_are_zero() -> None:
    for pictures in ([], [nothing()]):
        result = evaluate(pictures, 1)
        assert (result.map50, result.map50_95, result.instances) == (0, 0, 0)
        assert result.mean_precision_recall == (0, 0)


def test_metrics_of_a_perfect_detector_are_one() -> None:
    result = evaluate([perfect(3), nothing()], 1)
    assert result.map50 == pytest.approx(1)
    assert result.map50_95 == pytest.approx(1)
    assert result.mean_precision_recall == pytest.approx((1, 1))
    assert result.by_class[0].pictures == 1
    assert result.pictures == 2


def test_metrics_count_what_was_missed() -> None:
    whole, missed = perfect(2), perfect(2)
    missed = Picture(missed.xyxy, missed.class_id, Detections.empty())
    result = evaluate([whole, missed], 1)
    assert result.map50 == pytest.approx(51 / 101)  # recalls 0.00 to 0.50 are reached
    assert result.precision_recall(0) == (1, 0.5)


def test_metrics_ignore_classes_that_are_never_labelled() -> None:
    picture = perfect(1)
    wrong = Detections(picture.xyxy, picture.found.confidence, np.ones(1, np.int32))
    result = evaluate([picture, Picture(nothing().xyxy, nothing().class_id, wrong)], 2)
    assert list(result.by_class) == [0]
    assert result.map50 == 1


def test_precision_is_read_at_the_best_f1() -> None:
    picture = perfect(4)
    low = Detections(picture.xyxy + 500, np.full(4, 0.1, np.float32), np.zeros(4, np.int32))
    result = evaluate([picture, Picture(nothing().xyxy, nothing().class_id, low)], 1)
    assert 0.1 < result.best_confidence < 0.6
    assert result.precision_recall(0) == (1, 1)


def test_smooth_keeps_a_constant_and_its_length() -> None:
    assert smooth(np.full(1001, 0.25)) == pytest.approx(np.full(1001, 0.25))
