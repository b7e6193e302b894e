"""The kernel that picks rows of a `list` model: its own source, run on the processor, against plain loops."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edged.core.letterbox import Letterbox
from edged.core.types import Detections, Thresholds
from edged.cpu.stages import ListFinisher
from edged.gpu.layout import FOUND, Header, Results, RowsArgs
from edged.gpu.stages import rows_launch
from tests.gpu.ground import GROUNDS, Ground, ground_named
from tests.gpu.host_kernels import args_bytes
from tests.gpu.suppressing import require_equal

Array = np.ndarray[Any, Any]
NETWORK_WH, CLASSES = (640, 384), 5


@pytest.fixture(params=GROUNDS)
def on(request: pytest.FixtureRequest) -> Ground:
    return ground_named(request.param)


def random_rows(count: int, *, seed: int, classes: int = CLASSES) -> Array:
    """Scores from few values, so that many tie; some boxes end before they begin, some lie outside."""
    rng = np.random.default_rng(seed)
    rows = np.empty((count, 6), np.float32)
    rows[:, :2] = rng.uniform(-50, 650, (count, 2))
    rows[:, 2:4] = rows[:, :2] + rng.uniform(-10, 200, (count, 2))
    rows[:, 4] = rng.integers(0, 50, count) / 50
    rows[:, 5] = rng.integers(0, classes, count)
    return rows


def pick(
    images: Sequence[Array],
    limits: Thresholds,
    *,
    on: Ground,
    frames_wh: Sequence[tuple[int, int]] = (),
    capacity: int = 300,
    classes: int = CLASSES,
    seed: int = 0,
) -> list[Detections]:
    batch, count = len(images), len(images[0])
    frames_wh = frames_wh or [(1919, 1081)] * batch
    header, results = Header(classes, batch), Results(batch, capacity)
    block = on.array(np.zeros(header.nbytes, np.uint8))
    out = on.array(np.full(results.nbytes(batch, capacity), 0x5A, np.uint8))
    rows = on.array(np.stack(images))
    header.write(block, limits, [Letterbox.fit(wh, NETWORK_WH) for wh in frames_wh], [0] * batch)
    launch = rows_launch(
        rows=rows.ctypes.data,
        count=count,
        header=(header, block.ctypes.data),
        results=(results, out.ctypes.data),
        batch=batch,
    )
    on.run(launch, seed=seed)
    room = results.rows(limits.max_detections)
    counts = out[: batch * 4].view(np.int32)
    assert counts.max() <= room
    found = out[results.found : results.nbytes(batch, room)].view(FOUND).reshape(batch, room)
    written = results.found + np.dtype(FOUND).itemsize * batch * room
    assert (out[written:] == 0x5A).all(), "wrote beyond the results"
    return [
        Detections(row["xyxy"][:kept].copy(), row["confidence"][:kept].copy(), row["class_id"][:kept].copy())
        for row, kept in zip(found, counts, strict=True)
    ]


def on_cpu(
    rows: Array, limits: Thresholds, frame_wh: tuple[int, int] = (1919, 1081), classes: int = CLASSES
) -> Detections:
    with np.errstate(over="ignore"):
        return ListFinisher(rows, classes)(Letterbox.fit(frame_wh, NETWORK_WH), limits)[0]


def by_loops(rows: Array, limits: Thresholds) -> list[tuple[int, float, int]]:
    """Row number, score and class of what is to be found, best first: what `ListDecode` promises, word by word."""
    found = []
    for number, (x1, y1, x2, y2, score, class_id) in enumerate(rows.tolist()):
        is_row = all(map(math.isfinite, (x1, y1, x2, y2, score))) and x1 <= x2 and y1 <= y2
        is_class = class_id in (limits.class_ids or range(CLASSES)) and class_id in range(CLASSES)
        if is_row and is_class and score > float(np.float32(limits.confidence)):
            found.append((number, score, int(class_id)))
    return sorted(found, key=lambda each: (-each[1], each[0]))[: limits.max_detections]


def require_loops_and_cpu(rows: Array, limits: Thresholds, *, on: Ground) -> Detections:
    (got,) = pick([rows], limits, on=on)
    wanted = by_loops(rows, limits)
    assert got.confidence.tolist() == [score for _, score, _ in wanted]
    assert got.class_id.tolist() == [class_id for _, _, class_id in wanted]
    require_equal(got, on_cpu(rows, limits))
    return got


def test_rows_args_have_the_layout_of_the_source() -> None:
    assert ctypes.sizeof(RowsArgs) == args_bytes("rows_pick")


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 300, 1000])
@pytest.mark.parametrize("confidence", [0.0, 0.25, 0.5, 0.98], ids=str)
def test_rows_equals_the_cpu_bit_by_bit_and_loops(on: Ground, count: int, confidence: float) -> None:
    require_loops_and_cpu(random_rows(count, seed=count), Thresholds(confidence=confidence), on=on)


def test_rows_none_passes(on: Ground) -> None:
    assert len(require_loops_and_cpu(random_rows(300, seed=1), Thresholds(confidence=0.98), on=on)) == 0


@pytest.mark.parametrize("most", [0, 1, 7, 299, 300, 1000])
def test_rows_more_pass_than_may_be_reported(on: Ground, most: int) -> None:
    rows = random_rows(700, seed=2)
    rows[:, 2:4] = rows[:, :2] + 5
    rows[:, 4] = 0.5 + rows[:, 4] / 2
    limits = Thresholds(confidence=0.3, max_detections=most)
    (got,) = pick([rows], limits, on=on)
    require_equal(got, on_cpu(rows, Thresholds(confidence=0.3, max_detections=min(most, 300))))
    assert len(got) == min(most, 300)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38, -3e38, -1.0, -0.0, 0.5, 5.0, 2**31, 2**40], ids=str)
@pytest.mark.parametrize("column", range(6))
def test_rows_poisoned_in_one_value_cost_no_others(on: Ground, column: int, poison: float) -> None:
    rows = random_rows(300, seed=3)
    rows[::5, column] = poison
    with np.errstate(over="ignore"):
        assert len(require_loops_and_cpu(rows, Thresholds(confidence=0.1), on=on)) > 100


def test_rows_all_nan(on: Ground) -> None:
    assert len(pick([np.full((300, 6), np.nan, np.float32)], Thresholds(), on=on)[0]) == 0


@pytest.mark.parametrize("class_ids", [{1, 3}, {4}, {77}, {0, 1, 2, 3, 4}], ids=str)
def test_rows_of_wanted_classes_only(on: Ground, class_ids: set[int]) -> None:
    got = require_loops_and_cpu(random_rows(400, seed=4), Thresholds(class_ids=frozenset(class_ids)), on=on)
    assert set(got.class_id.tolist()) == class_ids - {77}


@pytest.mark.parametrize("classes", [1, 80])
def test_rows_of_models_with_few_and_many_classes(on: Ground, classes: int) -> None:
    rows = random_rows(300, seed=5, classes=classes)
    (got,) = pick([rows], Thresholds(), on=on, classes=classes)
    require_equal(got, on_cpu(rows, Thresholds(), classes=classes))
    assert len(got) > 100


def test_rows_equal_scores_go_by_their_order(on: Ground) -> None:
    rows = random_rows(600, seed=6)
    rows[:, 4] = 0.5
    require_loops_and_cpu(rows, Thresholds(), on=on)


@pytest.mark.parametrize("frame_wh", [(1, 1), (7680, 4320), (33, 1001), (641, 383)], ids=str)
def test_rows_give_boxes_in_pixels_of_any_frame(on: Ground, frame_wh: tuple[int, int]) -> None:
    rows = random_rows(200, seed=7)
    (got,) = pick([rows], Thresholds(), on=on, frames_wh=[frame_wh])
    require_equal(got, on_cpu(rows, Thresholds(), frame_wh))
    assert (got.xyxy >= 0).all() and (got.xyxy <= [*frame_wh, *frame_wh]).all()


@pytest.mark.parametrize("seed", range(4))
def test_rows_images_of_a_batch_do_not_touch_each_other(on: Ground, seed: int) -> None:
    images = [random_rows(300, seed=8), np.zeros((300, 6), np.float32), random_rows(300, seed=9)]
    frames_wh = [(1920, 1080), (10, 10), (480, 640)]
    limits = Thresholds(max_detections=40)
    for got, rows, frame_wh in zip(
        pick(images, limits, on=on, frames_wh=frames_wh, seed=seed), images, frames_wh, strict=True
    ):
        require_equal(got, on_cpu(rows, limits, frame_wh))
