"""The suppression kernels' own source, run on the processor, against the CPU's NMS and letterbox."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from edged.core.letterbox import Letterbox
from edged.core.limits import MAX_CANDIDATES
from edged.core.types import Detections, Thresholds
from edged.cpu.nms import nms
from edged.gpu.layout import FOUND, Header, NmsArgs, Results
from edged.gpu.stages import NmsMemory, nms_launches
from plugins.yolo_layer.kernel import DecodeOutputs
from tests.gpu.ground import GROUNDS, Ground, ground_named
from tests.gpu.host_kernels import args_bytes

Array = np.ndarray[Any, Any]
NETWORK_WH = (640, 384)
NUM_CLASSES = 5


@dataclass(frozen=True)
class Candidates:
    """One image's, as the decode leaves them."""

    xyxy: Array
    score: Array
    class_id: Array


def random_candidates(count: int, *, seed: int, classes: int = NUM_CLASSES) -> Candidates:
    """Boxes in heaps, so that many overlap; scores from few values, so that many tie."""
    rng = np.random.default_rng(seed)
    centre = rng.integers(1, 6, (count, 2)) * 60 + rng.normal(0, 6, (count, 2))
    half = rng.uniform(5, 40, (count, 2))
    xyxy = np.concatenate((centre - half, centre + half), axis=1).astype(np.float32)
    score = (rng.integers(1, 50, count) / 50).astype(np.float32)
    return Candidates(xyxy, score, rng.integers(0, classes, count).astype(np.int32))


def run_nms(
    images: Sequence[Candidates],
    frames_wh: Sequence[tuple[int, int]],
    limits: Thresholds,
    *,
    on: Ground,
    capacity: int = 300,
    seed: int = 0,
    classes: int = NUM_CLASSES,
) -> list[Detections]:
    batch, cells = len(images), max(1, *(len(image.score) for image in images))
    header, memory, results = Header(classes, batch), NmsMemory(batch), Results(batch, capacity)
    block = on.array(np.zeros(header.nbytes, np.uint8))
    workspace = on.array(np.full(memory.nbytes, 0x5A, np.uint8))
    workspace[: memory.ranked_bytes] = 0
    out = on.array(np.full(results.nbytes(batch), 0x5A, np.uint8))
    boxes = [Letterbox.fit(wh, NETWORK_WH) for wh in frames_wh]
    header.write(block, limits, boxes, [0] * batch)
    count = on.array(np.array([len(image.score) for image in images], np.int32))
    xyxy = on.array(np.full((batch, cells, 4), np.nan, np.float32))
    score = on.array(np.full((batch, cells), 99, np.float32))
    class_id = on.array(np.zeros((batch, cells), np.int32))
    for row, image in enumerate(images):
        xyxy[row, : count[row]], score[row, : count[row]] = image.xyxy, image.score
        class_id[row, : count[row]] = image.class_id
    for launch in nms_launches(
        candidates=DecodeOutputs(*(array.ctypes.data for array in (count, xyxy, score, class_id))),
        cells=cells,
        header=(header, block.ctypes.data),
        workspace=(memory, workspace.ctypes.data),
        results=(results, out.ctypes.data),
        batch=batch,
    ):
        on.run(launch, seed=seed)
    counts = out[: batch * 4].view(np.int32)
    found = out[results.found :].view(FOUND).reshape(batch, capacity)
    return [
        Detections(row["xyxy"][:kept].copy(), row["confidence"][:kept].copy(), row["class_id"][:kept].copy())
        for row, kept in zip(found, counts, strict=True)
    ]


def on_cpu(image: Candidates, frame_wh: tuple[int, int], limits: Thresholds) -> Detections:
    """The CPU detector's steps behind the decode."""
    with np.errstate(all="ignore"):
        passes = (image.score > np.float32(limits.confidence)) & np.isfinite(image.xyxy).all(axis=1)
        if limits.class_ids:
            passes &= np.isin(image.class_id, list(limits.class_ids))
        xyxy, score, class_id = image.xyxy[passes], image.score[passes], image.class_id[passes]
        kept = nms(xyxy, score, class_id, iou_threshold=limits.iou, max_detections=limits.max_detections)
        return Detections(Letterbox.fit(frame_wh, NETWORK_WH).to_frame(xyxy[kept]), score[kept], class_id[kept])


def require_equal(got: Detections, wanted: Detections) -> None:
    np.testing.assert_array_equal(got.confidence, wanted.confidence)
    np.testing.assert_array_equal(got.class_id, wanted.class_id)
    np.testing.assert_array_equal(got.xyxy, wanted.xyxy)


def require_equal_to_cpu(
    image: Candidates, limits: Thresholds, *, on: Ground, frame_wh: tuple[int, int] = (1919, 1081)
) -> Detections:
    got = run_nms([image], [frame_wh], limits, on=on)[0]
    require_equal(got, on_cpu(image, frame_wh, limits))
    return got


@pytest.fixture(params=GROUNDS)
def on(request: pytest.FixtureRequest) -> Ground:
    return ground_named(request.param)


def test_nms_args_have_the_layout_of_the_source() -> None:
    assert ctypes.sizeof(NmsArgs) == args_bytes("nms_rank") == args_bytes("nms_greedy")


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 1000])
@pytest.mark.parametrize("iou", [0.0, 0.45, 0.999, 1.0])
def test_nms_equals_the_cpu_bit_by_bit(on: Ground, count: int, iou: float) -> None:
    require_equal_to_cpu(random_candidates(count, seed=count), Thresholds(iou=iou), on=on)


@pytest.mark.parametrize("frame_wh", [(1, 1), (7680, 4320), (33, 1001), (641, 383)], ids=str)
def test_nms_gives_boxes_in_pixels_of_any_frame(on: Ground, frame_wh: tuple[int, int]) -> None:
    require_equal_to_cpu(random_candidates(200, seed=1), Thresholds(), frame_wh=frame_wh, on=on)


def test_nms_images_of_a_batch_do_not_touch_each_other(on: Ground) -> None:
    images = [random_candidates(count, seed=count) for count in (300, 0, 17, 513)]
    frames_wh = [(1920, 1080), (10, 10), (640, 480), (480, 640)]
    for got, image, frame_wh in zip(run_nms(images, frames_wh, Thresholds(), on=on), images, frames_wh, strict=True):
        require_equal(got, on_cpu(image, frame_wh, Thresholds()))


def test_nms_one_class_suppresses_what_several_classes_leave(on: Ground) -> None:
    image = random_candidates(400, seed=3)
    several = require_equal_to_cpu(image, Thresholds(), on=on)
    single = require_equal_to_cpu(replace(image, class_id=np.zeros_like(image.class_id)), Thresholds(), on=on)
    assert len(single) < len(several)


@pytest.mark.parametrize("classes", [1, 80])
def test_nms_of_models_with_few_and_many_classes(on: Ground, classes: int) -> None:
    image = random_candidates(700, seed=14, classes=classes)
    for wanted in (frozenset[int](), frozenset({classes - 1})):
        limits = Thresholds(class_ids=wanted)
        got = run_nms([image], [(1919, 1081)], limits, on=on, classes=classes)[0]
        require_equal(got, on_cpu(image, (1919, 1081), limits))
        assert len(got)


def test_nms_equal_scores_go_by_candidate_order(on: Ground) -> None:
    image = replace(random_candidates(600, seed=4), score=np.full(600, 0.5, np.float32))
    require_equal_to_cpu(image, Thresholds(), on=on)


def test_nms_identical_boxes_leave_the_first(on: Ground) -> None:
    image = Candidates(
        np.tile(np.array([[10, 10, 50, 50]], np.float32), (500, 1)),
        np.full(500, 0.9, np.float32),
        np.ones(500, np.int32),
    )
    assert len(require_equal_to_cpu(image, Thresholds(), on=on)) == 1


def test_nms_detections_stop_at_the_limit(on: Ground) -> None:
    image = random_candidates(800, seed=5)
    assert len(require_equal_to_cpu(image, Thresholds(iou=0.9, max_detections=7), on=on)) == 7


def test_nms_limit_beyond_the_buffer_stops_at_the_buffer(on: Ground) -> None:
    image = random_candidates(800, seed=5)
    got = run_nms([image], [(640, 384)], Thresholds(iou=0.9, max_detections=1000), capacity=20, on=on)[0]
    require_equal(got, on_cpu(image, (640, 384), Thresholds(iou=0.9, max_detections=20)))


def test_nms_admits_the_wanted_classes_only(on: Ground) -> None:
    image = random_candidates(500, seed=6)
    got = require_equal_to_cpu(image, Thresholds(class_ids=frozenset({1, 3, 77})), on=on)
    assert set(got.class_id.tolist()) == {1, 3}


def test_nms_confidence_must_be_exceeded(on: Ground) -> None:
    image = Candidates(
        np.array([[0, 0, 9, 9], [20, 20, 30, 30]], np.float32), np.array([0.5, 0.75], np.float32), np.zeros(2, np.int32)
    )
    assert require_equal_to_cpu(image, Thresholds(confidence=0.5), on=on).confidence.tolist() == [0.75]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 0.0], ids=str)
@pytest.mark.parametrize("corner", range(4))
def test_nms_broken_boxes_go_as_on_the_cpu(on: Ground, value: float, corner: int) -> None:
    image = random_candidates(300, seed=8)
    image.xyxy[::3, corner] = value
    require_equal_to_cpu(image, Thresholds(), on=on)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0, -0.0], ids=str)
def test_nms_broken_scores_go_as_on_the_cpu(on: Ground, value: float) -> None:
    image = random_candidates(300, seed=9)
    image.score[::3] = value
    require_equal_to_cpu(image, Thresholds(), on=on)


def test_nms_empty_boxes_suppress_nothing(on: Ground) -> None:
    image = random_candidates(100, seed=10)
    image.xyxy[:, 2:] = image.xyxy[:, :2]
    assert len(require_equal_to_cpu(image, Thresholds(confidence=0.0), on=on)) == 100


def test_nms_more_candidates_than_the_bound_cut_off_at_the_same_box(on: Ground) -> None:
    rng = np.random.default_rng(11)
    count = MAX_CANDIDATES + 700
    corner = rng.uniform(0, 300, (count, 2))
    image = Candidates(
        np.concatenate((corner, corner + 2), axis=1).astype(np.float32),
        (rng.permutation(count) / count).astype(np.float32),
        rng.integers(0, NUM_CLASSES, count).astype(np.int32),
    )
    limits = Thresholds(confidence=0.0, iou=0.0, max_detections=30000)
    got = run_nms([image], [(640, 384)], limits, capacity=30000, on=on)[0]
    require_equal(got, on_cpu(image, (640, 384), limits))
    assert got.confidence.min() >= 700 / count


def test_nms_does_not_depend_on_the_order_of_blocks_and_threads(on: Ground) -> None:
    image = random_candidates(1500, seed=12)
    first = run_nms([image], [(640, 480)], Thresholds(), seed=0, on=on)[0]
    for seed in range(1, 4):
        require_equal(run_nms([image], [(640, 480)], Thresholds(), seed=seed, on=on)[0], first)


def test_nms_twice_equals_once(on: Ground) -> None:
    image = random_candidates(500, seed=13)
    network = run_nms([image], [NETWORK_WH], Thresholds(), on=on)[0]
    again = run_nms(
        [Candidates(network.xyxy, network.confidence, network.class_id)], [NETWORK_WH], Thresholds(), on=on
    )[0]
    require_equal(again, network)
