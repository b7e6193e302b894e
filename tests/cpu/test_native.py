"""The stages in machine code give the very bits of those in numpy."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.core.decode import GridDecode
from edged.core.letterbox import Letterbox
from edged.core.limits import MAX_CANDIDATES
from edged.core.types import Floats, Thresholds
from edged.cpu import native
from edged.cpu.preprocess import NumpyPlanes
from edged.cpu.stages import NATIVE, NUMPY

ANCHORS = (((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0)))
STRIDES = (8, 16)
DECODE = GridDecode(ANCHORS, STRIDES)

built = pytest.mark.skipif(native.library() is None, reason="edged was installed without a C compiler")


def heads_of(seed: int, *, classes: int, width: int, height: int) -> list[Floats]:
    """Objectness and probabilities on few levels, so that scores tie."""
    rng = np.random.default_rng(seed)
    shapes = [(2, 5 + classes, height // t, width // t) for t in STRIDES]
    heads = [rng.random(shape, np.float32) for shape in shapes]
    for head in heads:
        head[:, 4:] = np.round(head[:, 4:] * 8) / 8
    return [head.reshape(-1, *head.shape[2:]) for head in heads]


def require_equal(heads: list[Floats], limits: Thresholds, box: Letterbox) -> int:
    """Both finishers on these heads; how many boxes there are."""
    with np.errstate(all="ignore"):
        expected, _ = NUMPY.grid_finisher(heads, DECODE)(box, limits)
    got, decoded_ns = NATIVE.grid_finisher(heads, DECODE)(box, limits)
    np.testing.assert_array_equal(got.class_id, expected.class_id)
    np.testing.assert_array_equal(got.confidence.view(np.int32), expected.confidence.view(np.int32))
    np.testing.assert_array_equal(got.xyxy, expected.xyxy)
    assert decoded_ns > 0
    return len(got)


def test_a_machine_with_a_compiler_has_it() -> None:
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("no C compiler here: numpy does the work")
    assert native.library() is not None, "install edged again: edged.cpu._native was not built"


@built
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.sampled_from([1, 2, 80]),
    size=st.sampled_from([(32, 32), (160, 96), (96, 224)]),
    source=st.sampled_from([(32, 32), (1920, 1080), (37, 211), (1, 1)]),
    confidence=st.sampled_from([0.0, 0.001, 0.25, 0.5, 0.98, 1.0]),
    iou=st.sampled_from([0.0, 0.3, 0.45, 1.0]),
    most=st.sampled_from([0, 1, 7, 300]),
    some=st.booleans(),
)
def test_finish_equals_numpy(
    seed: int,
    classes: int,
    size: tuple[int, int],
    source: tuple[int, int],
    confidence: float,
    iou: float,
    most: int,
    some: bool,  # noqa: FBT001 - hypothesis passes by name
) -> None:
    heads = heads_of(seed, classes=classes, width=size[0], height=size[1])
    chosen = frozenset({0, classes // 2}) if some else frozenset()
    require_equal(heads, Thresholds(confidence, iou, most, chosen), Letterbox.fit(source, size))


@built
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38, -1.0], ids=str)
@pytest.mark.parametrize("channel", range(8))
def test_finish_equals_numpy_on_poisoned_heads(channel: int, poison: float) -> None:
    heads = heads_of(7, classes=3, width=96, height=96)
    for head in heads:
        head.reshape(2, 8, -1)[:, channel, ::5] = poison
    assert require_equal(heads, Thresholds(0.1, 0.9), Letterbox.fit((640, 480), (96, 96))) > 0


@built
@pytest.mark.parametrize("value", [0.0, 1.0], ids=["silence", "everything"])
def test_finish_equals_numpy_where_every_cell_says_the_same(value: float) -> None:
    heads = [np.full_like(head, value) for head in heads_of(1, classes=2, width=64, height=64)]
    found = require_equal(heads, Thresholds(0.25, 0.45), Letterbox.fit((64, 64), (64, 64)))
    assert (found > 0) == (value > 0)


@built
def test_finish_of_more_than_the_limit_considers_the_best() -> None:
    heads = heads_of(3, classes=1, width=1024, height=640)
    assert sum(head[4].size * 2 for head in heads) > MAX_CANDIDATES
    limits = Thresholds(0.0, 1.0, MAX_CANDIDATES + 1000)
    assert require_equal(heads, limits, Letterbox.fit((4000, 2500), (1024, 640))) == MAX_CANDIDATES


@built
def test_finish_hands_out_memory_of_its_own() -> None:
    heads = heads_of(5, classes=3, width=96, height=96)
    finish = NATIVE.grid_finisher(heads, DECODE)
    box = Letterbox.fit((96, 96), (96, 96))
    first, _ = finish(box, Thresholds(0.5))
    kept = first.xyxy.copy()
    assert len(kept) > 0
    heads[0][:], heads[1][:] = 0, 0
    assert len(finish(box, Thresholds(0.5))[0]) == 0
    np.testing.assert_array_equal(first.xyxy, kept)


@built
def test_finish_follows_frames_and_limits_that_change() -> None:
    heads = heads_of(6, classes=3, width=96, height=96)
    ours = NATIVE.grid_finisher(heads, DECODE)
    reference = NUMPY.grid_finisher(heads, DECODE)
    for source in ((96, 96), (1280, 720), (300, 900)):
        for limits in (Thresholds(0.2), Thresholds(0.2, 0.3, 4), Thresholds(0.4, class_ids=frozenset({1}))):
            box = Letterbox.fit(source, (96, 96))
            np.testing.assert_array_equal(ours(box, limits)[0].xyxy, reference(box, limits)[0].xyxy)


@built
def test_finish_refuses_heads_that_are_not_contiguous() -> None:
    heads = [head[:, ::2] for head in heads_of(1, classes=1, width=64, height=64)]
    with pytest.raises(ValueError, match="contiguous float32 heads"):
        NATIVE.grid_finisher(heads, DECODE)


@built
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (63, 2), (640, 480), (1279, 717)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_planes_equal_numpy(size: tuple[int, int]) -> None:
    width, height = size
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    expected, got = (np.full((3, height + 4, width + 6), 7, np.float32) for _ in range(2))
    NumpyPlanes(expected[:, 2:-2, 3:-3])(image)
    native.NativePlanes(got[:, 2:-2, 3:-3])(image)
    np.testing.assert_array_equal(got, expected)


@built
def test_planes_of_a_turned_picture_equal_numpy() -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 30, 3), np.uint8).transpose(1, 0, 2)
    expected, got = np.empty((3, 30, 40), np.float32), np.empty((3, 30, 40), np.float32)
    NumpyPlanes(expected)(np.ascontiguousarray(image))
    native.NativePlanes(got)(image)
    np.testing.assert_array_equal(got, expected)


@built
def test_planes_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"made for pictures of \(4, 5, 3\), got \(4, 4, 3\)"):
        native.NativePlanes(np.zeros((3, 4, 5), np.float32))(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="contiguous rows"):
        native.NativePlanes(np.zeros((3, 4, 10), np.float32)[:, :, ::2])
