"""The suppression kernels' own source, run on the processor, against the CPU's NMS and letterbox."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest

from edged.core.limits import MAX_CANDIDATES
from edged.core.types import Detections, Thresholds
from edged.gpu.layout import NmsArgs
from plugins.yolo_layer.launch import Launch
from tests.gpu.ground import GROUNDS, Ground, ground_named
from tests.gpu.host_kernels import args_bytes, barriers
from tests.gpu.suppressing import (
    NETWORK_WH,
    NUM_CLASSES,
    Batch,
    Candidates,
    on_cpu,
    random_candidates,
    require_equal,
    run_nms,
)


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
    assert ctypes.sizeof(NmsArgs) == args_bytes("nms_admit") == args_bytes("nms_rank") == args_bytes("nms_greedy")


def test_nms_ranks_the_admitted_alone_however_many_candidates_there_are() -> None:
    """As many as were ever seen on a picture. Others fail by class or place; borders of the tiles are admitted."""
    count, on = 6_107, ground_named("processor")
    image = random_candidates(count, seed=15)
    image.score[:] = 0.002
    wanted = np.array([0, 31, 32, 1023, 1024, 2047, 2048, *range(4000, 6000, 100), count - 1])
    image.score[wanted] = 0.75
    image.class_id[wanted] %= NUM_CLASSES - 1
    image.score[2100:3900] = 0.9
    image.class_id[2100:3000] = NUM_CLASSES - 1
    image.xyxy[3000:3900, ::2] = np.nan
    limits = Thresholds(iou=1.0, class_ids=frozenset(range(NUM_CLASSES - 1)))
    alone = Candidates(image.xyxy[wanted], image.score[wanted], image.class_id[wanted])
    many, few = (Batch([each], [(640, 480)], limits, on) for each in (image, alone))
    require_equal(many.run(listing=True)[0], on_cpu(image, (640, 480), limits))
    assert len(on_cpu(image, (640, 480), limits)) == len(wanted)
    assert rank_work(many, listing=False) > rank_work(many, listing=True) == rank_work(few, listing=True) > 0


def rank_work(batch: Batch, *, listing: bool) -> int:
    """Arrivals of nms_rank's threads at its barriers, two for each tile that a block compares its candidates with."""
    work = {}

    def watch(launch: Launch) -> None:
        work[launch.kernel] = barriers()

    batch.run(listing=listing, watch=watch)
    return work["nms_rank"]


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


@pytest.mark.parametrize("count", [1023, 1024, 1025, 2049])
def test_nms_lists_the_admitted_across_the_borders_of_its_tiles(on: Ground, count: int) -> None:
    image = random_candidates(count, seed=16)
    require_equal_to_cpu(image, Thresholds(confidence=0.9), on=on)
    require_equal_to_cpu(replace(image, score=np.full(count, 0.5, np.float32)), Thresholds(), on=on)


def test_nms_twice_equals_once(on: Ground) -> None:
    image = random_candidates(500, seed=13)
    network = run_nms([image], [NETWORK_WH], Thresholds(), on=on)[0]
    again = run_nms(
        [Candidates(network.xyxy, network.confidence, network.class_id)], [NETWORK_WH], Thresholds(), on=on
    )[0]
    require_equal(again, network)
