"""Models of kind `list` on the CPU: the right rows in frame pixels, whatever the rows hold; clear refusals."""

from __future__ import annotations

import math
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edged.core.bundle import Bundle
from edged.core.decode import MAX_ROWS, GridDecode, ListDecode, decode_from_json
from edged.core.errors import DataError
from edged.core.letterbox import Letterbox
from edged.core.types import Detections, Floats, Frame, FrameMeta, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from edged.cpu.stages import NATIVE, NUMPY, Stages
from tests.handmade import draw_square
from tests.handmade_list import fixed_rows_model, write_list_bundle

NETWORK_WH, FRAME_WH, CLASSES = (64, 48), (640, 401), 3
DECODE = ListDecode("handmade")


def by_loops(rows: Floats, limits: Thresholds, frame_wh: tuple[int, int] = FRAME_WH) -> list[tuple[float, ...]]:
    """What a reader of the contract expects, row by row: x1, y1, x2, y2 in frame pixels, score, class id."""
    scale = min(NETWORK_WH[0] / frame_wh[0], NETWORK_WH[1] / frame_wh[1])
    shown = [round(side * scale) for side in frame_wh]
    pads = [math.ceil((whole - used) / 2 - 0.6) for whole, used in zip(NETWORK_WH, shown, strict=True)]
    found = []
    for x1, y1, x2, y2, score, class_id in rows.tolist():
        is_box = all(map(math.isfinite, (x1, y1, x2, y2))) and x1 <= x2 and y1 <= y2
        is_class = class_id in range(CLASSES) and (not limits.class_ids or class_id in limits.class_ids)
        if is_box and is_class and float(np.float32(limits.confidence)) < score < math.inf:
            sides = [
                min(max((value - pads[k % 2]) * frame_wh[k % 2] / shown[k % 2], 0), frame_wh[k % 2])
                for k, value in enumerate((x1, y1, x2, y2))
            ]
            found.append((*sides, score, class_id))
    return sorted(found, key=lambda row: -row[4])[: limits.max_detections]


def finish(rows: Floats, limits: Thresholds, *, stages: Stages = NUMPY) -> Detections:
    finisher = stages.finisher([rows], DECODE, classes=CLASSES)
    found, picked_ns = finisher(Letterbox.fit(FRAME_WH, NETWORK_WH), limits)
    assert picked_ns > 0
    return found


def require_loops(rows: Floats, limits: Thresholds) -> Detections:
    before = rows.copy()
    got, wanted = finish(rows, limits), by_loops(rows, limits)
    np.testing.assert_array_equal(rows, before)
    assert got.class_id.tolist() == [int(row[5]) for row in wanted]
    assert got.confidence.tolist() == [row[4] for row in wanted]
    np.testing.assert_allclose(got.xyxy, np.array([row[:4] for row in wanted]).reshape(-1, 4), atol=1e-3, rtol=1e-5)
    return got


def random_rows(seed: int, count: int) -> Floats:
    """Scores on few levels, so that they tie; some boxes end before they begin, some lie outside."""
    rng = np.random.default_rng(seed)
    rows = np.empty((count, 6), np.float32)
    rows[:, :2] = rng.uniform(-20, 70, (count, 2))
    rows[:, 2:4] = rows[:, :2] + rng.uniform(-2, 30, (count, 2))
    rows[:, 4] = rng.integers(0, 9, count) / 8
    rows[:, 5] = rng.integers(0, CLASSES, count)
    return rows


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.sampled_from([0, 1, 2, 100, 300, 5000]),
    confidence=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
    most=st.sampled_from([0, 1, 7, 300]),
    class_ids=st.sampled_from([frozenset[int](), frozenset({1}), frozenset({0, 2, 99})]),
)
@example(seed=1, count=5000, confidence=0.0, most=300, class_ids=frozenset())  # more than may be reported
@example(seed=1, count=300, confidence=1.0, most=300, class_ids=frozenset())  # none passes
def test_rows_equal_the_loops(seed: int, count: int, confidence: float, most: int, class_ids: frozenset[int]) -> None:
    limits = Thresholds(confidence=confidence, max_detections=most, class_ids=class_ids)
    require_loops(random_rows(seed, count), limits)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38, -3e38, -1.0, 0.5, 3.0, 2**31, 2**40], ids=str)
@pytest.mark.parametrize("column", range(6))
def test_rows_poisoned_in_one_value_cost_no_others(column: int, poison: float) -> None:
    rows = random_rows(7, 200)
    rows[::5, column] = poison
    with np.errstate(over="ignore"):
        found = require_loops(rows, Thresholds(confidence=0.1))
    assert len(found) >= 80


def test_rows_that_overlap_all_stay() -> None:
    rows = np.tile(np.array([[10, 10, 30, 30, 0.75, 1]], np.float32), (5, 1))
    assert len(finish(rows, Thresholds(iou=0.1))) == 5


@pytest.mark.parametrize("stages", [NUMPY, NATIVE], ids=["numpy", "machine-code"])
def test_rows_are_finished_by_either_implementation(stages: Stages) -> None:
    found = finish(random_rows(2, 300), Thresholds(), stages=stages)
    np.testing.assert_array_equal(found.xyxy, finish(random_rows(2, 300), Thresholds()).xyxy)


def test_detections_keep_their_values_when_the_rows_change() -> None:
    rows = random_rows(3, 50)
    finisher = NUMPY.finisher([rows], DECODE, classes=CLASSES)
    box = Letterbox.fit(NETWORK_WH, NETWORK_WH)
    first, _ = finisher(box, Thresholds())
    kept = first.xyxy.copy(), first.confidence.copy()
    rows[:] = 0
    assert len(finisher(box, Thresholds())[0]) == 0
    np.testing.assert_array_equal(first.xyxy, kept[0])
    np.testing.assert_array_equal(first.confidence, kept[1])


def detect(bundle: Path, pixels: Pixels, limits: Thresholds) -> Detections:
    detector = CpuDetector(Bundle.open(bundle), thresholds=limits, threads=2)
    try:
        meta = FrameMeta("gate", 0, datetime.now(timezone.utc), time.monotonic_ns(), (pixels.shape[1], pixels.shape[0]))
        detector.submit([Frame(meta, pixels)])
        return detector.collect()[0].detections
    finally:
        detector.close()


def test_detector_finds_squares_in_frame_pixels(tmp_path: Path) -> None:
    image = np.full((400, 640, 3), 90, np.uint8)  # halved, with 60 rows of grey above and below
    image[40:168, 64:192] = (0, 0, 255)
    image[232:360, 448:576] = (255, 0, 0)
    found = detect(write_list_bundle(tmp_path), image, Thresholds())
    order = np.argsort(found.class_id)
    assert found.class_id[order].tolist() == [0, 2] and (found.confidence > 0.99).all()
    np.testing.assert_allclose(found.xyxy[order], [[64, 40, 192, 168], [448, 232, 576, 360]], atol=1e-3)
    assert detect(tmp_path, image, Thresholds(class_ids=frozenset({2}))).class_id.tolist() == [2]


def test_detector_sees_nothing_on_grey(tmp_path: Path) -> None:
    image = np.full((320, 320, 3), 114, np.uint8)
    assert len(detect(write_list_bundle(tmp_path), image, Thresholds())) == 0
    draw_square(image, "green", 128, 160)
    assert detect(tmp_path, image, Thresholds()).class_id.tolist() == [1]


GOOD = np.array([[1, 2, 30, 40, 0.75, 2], [5, 5, 9, 9, 0.5, 0]], np.float32)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        pytest.param(0, np.nan, "NaN or infinity", id="nan-box"),
        pytest.param(2, np.inf, "NaN or infinity", id="infinite-box"),
        pytest.param(4, np.nan, "NaN or infinity", id="nan-score"),
        pytest.param(4, 1.5, "scores outside 0..1", id="logits"),
        pytest.param(4, -0.5, "scores outside 0..1", id="negative"),
        pytest.param(5, 3.0, r"class ids that are no whole numbers in 0\.\.2", id="other-classes"),
        pytest.param(5, -1.0, "class ids that are no whole numbers", id="negative-class"),
        pytest.param(5, 0.5, "class ids that are no whole numbers", id="fraction"),
    ],
)
def test_detector_refuses_rows_that_break_the_contract(tmp_path: Path, column: int, value: float, said: str) -> None:
    rows = GOOD.copy()
    rows[0, column] = value
    path = write_list_bundle(tmp_path, fixed_rows_model(rows), input_wh=(64, 64))
    with pytest.raises(DataError, match=f"model.onnx: self-test on a grey picture gave {said}"):
        CpuDetector(Bundle.open(path), thresholds=Thresholds(), threads=1)


def test_detector_takes_boxes_beyond_the_picture_and_rows_that_fill_up(tmp_path: Path) -> None:
    filling = np.array([[-1e6, -3, 1e6, 70, 0.9, 1], [0, 0, 0, 0, 0, -1]], np.float32)
    path = write_list_bundle(tmp_path, fixed_rows_model(np.concatenate((GOOD, filling))), input_wh=(64, 64))
    found = detect(path, np.zeros((64, 64, 3), np.uint8), Thresholds())
    assert found.xyxy.tolist() == [[0, 0, 64, 64], [1, 2, 30, 40], [5, 5, 9, 9]]
    assert found.class_id.tolist() == [1, 2, 0]


def _renamed(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "output0"


def _of_any_length(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "found"
    del model.graph.initializer[:], model.graph.node[:]
    mask = onnx.helper.make_node("NonZero", ["images"], ["where"])
    cast = onnx.helper.make_node("Cast", ["where"], ["floats"], to=onnx.TensorProto.FLOAT)
    shape = onnx.numpy_helper.from_array(np.array([1, -1, 6], np.int64), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.extend([mask, cast, onnx.helper.make_node("Reshape", ["floats", "shape"], ["rows"])])


def _half(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "float_rows"
    cast = onnx.helper.make_node("Cast", ["float_rows"], ["rows"], to=onnx.TensorProto.FLOAT16)
    model.graph.node.append(cast)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("change", "got"),
    [
        pytest.param(_renamed, r"output0 tensor\(float\) \[2, 6\]", id="name"),
        pytest.param(_of_any_length, r"rows tensor\(float\) \['found', 6\]", id="any-length"),
        pytest.param(_half, r"rows tensor\(float16\) \[2, 6\]", id="half"),
    ],
)
def test_detector_refuses_other_outputs(tmp_path: Path, change: object, got: str) -> None:
    model = onnx.load_from_string(fixed_rows_model(GOOD))
    assert callable(change)
    change(model)
    path = write_list_bundle(tmp_path, model.SerializeToString(), input_wh=(64, 64))
    with pytest.raises(
        DataError, match=rf"expected one float output rows of \[N, 6\], N fixed in 1\.\.65536, got {got}"
    ):
        CpuDetector(Bundle.open(path), thresholds=Thresholds(), threads=1)


def test_detector_refuses_more_rows_than_memory_may_hold(tmp_path: Path) -> None:
    rows = np.zeros((MAX_ROWS + 1, 6), np.float32)
    path = write_list_bundle(tmp_path, fixed_rows_model(rows), input_wh=(64, 64))
    with pytest.raises(DataError, match=r"N fixed in 1\.\.65536, got rows tensor\(float\) \[65537, 6\]"):
        CpuDetector(Bundle.open(path), thresholds=Thresholds(), threads=1)


def test_decode_of_a_manifest_is_read_back_and_checked() -> None:
    assert decode_from_json({"kind": "list", "family": "rtdetr"}) == ListDecode("rtdetr")
    assert isinstance(decode_from_json({"kind": "grid", "anchors": [[[1, 2]]], "strides": [8]}), GridDecode)
    for wrong in ({"kind": "list"}, {"kind": "list", "family": ""}, {"kind": "list", "family": "x", "strides": [8]}):
        with pytest.raises((TypeError, ValueError)):
            decode_from_json(wrong)


def test_the_stages_say_what_they_are_made_of() -> None:
    grid, rows = GridDecode((((1.0, 2.0),),), (8,)), ListDecode("detr")
    assert [NATIVE.described(each) for each in (grid, rows)] == [
        "machine code",
        "machine code before it, numpy behind it",
    ]
    assert {NUMPY.described(each) for each in (grid, rows)} == {"numpy"}
