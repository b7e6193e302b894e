"""Scaling in machine code gives the bits of OpenCV's bilinear resize, whatever the sizes, and reads no byte more."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.core.letterbox import Letterbox
from edged.core.types import Floats, Pixels
from edged.cpu import native
from edged.cpu.preprocess import numpy_filler
from edged.cpu.scaling import NativeScaler, suits
from edged.cpu.stages import native_filler

pytestmark = pytest.mark.skipif(
    native.library() is None or not native.loaded().edged_can_scale(), reason="no C compiler, or no AVX2"
)

NO_ACCESS = 0
SIDES = st.integers(1, 700)


def box_of(source_wh: tuple[int, int], resized_wh: tuple[int, int]) -> Letterbox:
    """Any two sizes, also such as no letterbox would bring together."""
    return Letterbox(source_wh, resized_wh, resized_wh, 0, 0)


def noise(width: int, height: int) -> Pixels:
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)


def planes_in(canvas: Floats) -> Floats:
    """Within a larger input, as the letterbox has it."""
    return canvas[:, 2:-2, 3:-5]


def require_equal(image: Pixels, resized_wh: tuple[int, int]) -> None:
    box = box_of((image.shape[1], image.shape[0]), resized_wh)
    expected, got = (np.full((3, resized_wh[1] + 4, resized_wh[0] + 8), 7, np.float32) for _ in range(2))
    numpy_filler(box, planes_in(expected))(image)
    NativeScaler(box, planes_in(got))(image)
    np.testing.assert_array_equal(got, expected)


@settings(deadline=None, max_examples=150)
@given(width=SIDES, height=SIDES, to_width=SIDES, to_height=SIDES)
def test_scaling_equals_opencv(width: int, height: int, to_width: int, to_height: int) -> None:
    require_equal(noise(width, height), (to_width, to_height))


@pytest.mark.parametrize("network", [(320, 320), (640, 640), (640, 384), (416, 256)], ids=str)
@pytest.mark.parametrize(
    "source", [(480, 360), (640, 480), (800, 600), (1280, 720), (1279, 717), (1920, 1080), (640, 360)], ids=str
)
def test_scaling_equals_opencv_for_cameras(source: tuple[int, int], network: tuple[int, int]) -> None:
    require_equal(noise(*source), Letterbox.fit(source, network).resized_wh)


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_scaling_keeps_an_even_picture_even(value: int) -> None:
    require_equal(np.full((123, 77, 3), value, np.uint8), (320, 200))


def test_scaling_of_a_turned_picture_equals_opencv() -> None:
    image = noise(60, 90).transpose(1, 0, 2)
    box = box_of((90, 60), (64, 64))
    expected, got = np.empty((3, 64, 64), np.float32), np.empty((3, 64, 64), np.float32)
    numpy_filler(box, expected)(np.ascontiguousarray(image))
    NativeScaler(box, got)(image)
    np.testing.assert_array_equal(got, expected)


@contextmanager
def before_a_wall(nbytes: int) -> Iterator[Pixels]:
    """So many bytes, behind which reading a single one more would end the process."""
    page = mmap.PAGESIZE
    pages = -(-nbytes // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    whole = np.frombuffer(memory, np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    wall = whole.ctypes.data + pages * page
    assert protect(wall, page, NO_ACCESS) == 0, ctypes.get_errno()
    try:
        yield whole[pages * page - nbytes : pages * page]
    finally:
        protect(wall, page, mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize("width", range(1, 20))
def test_scaling_reads_nothing_behind_the_picture(width: int) -> None:
    for to_width in (1, 7, 8, 16, 33):
        with before_a_wall(width * 5 * 3) as memory:
            image = memory.reshape(5, width, 3)
            image[:] = noise(width, 5)
            require_equal(image, (to_width, 9))


def test_scaling_refuses_another_size() -> None:
    scale = NativeScaler(box_of((64, 48), (32, 24)), np.empty((3, 24, 32), np.float32))
    with pytest.raises(ValueError, match=r"made for pictures of \(48, 64, 3\), got \(64, 48, 3\)"):
        scale(noise(48, 64))
    with pytest.raises(ValueError, match=r"needs planes of \(32, 24\), rows contiguous"):
        NativeScaler(box_of((64, 48), (32, 24)), np.empty((3, 32, 24), np.float32))


def test_halves_and_equal_sizes_are_left_to_who_is_faster() -> None:
    assert not suits(box_of((640, 480), (320, 240)))
    assert not suits(box_of((320, 240), (320, 240)))
    assert suits(box_of((640, 480), (320, 480)))
    for source in ((640, 480), (320, 240)):
        box = box_of(source, (320, 240))
        expected, got = np.empty((3, 240, 320), np.float32), np.empty((3, 240, 320), np.float32)
        numpy_filler(box, expected)(noise(*source))
        native_filler(box, got)(noise(*source))
        np.testing.assert_array_equal(got, expected)
