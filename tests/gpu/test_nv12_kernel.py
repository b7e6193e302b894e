"""The preprocessing kernel's NV12 entry against the formulas of BT.601 and BT.709 and the CPU's letterbox."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from edged.core.letterbox import PAD_GREY
from edged.core.nv12 import YuvCoding
from edged.core.types import Pixels
from edged.gpu.layout import PreprocessArgs
from tests.gpu.ground import GROUNDS, Ground, ground_named
from tests.gpu.host_kernels import args_bytes
from tests.gpu.nv12 import CODINGS, Nv12, by_definition, grey_levels_apart, noise, on_cpu, run_preprocess


@pytest.fixture(params=GROUNDS)
def on(request: pytest.FixtureRequest) -> Ground:
    return ground_named(request.param)


def test_nv12_args_have_the_layout_of_the_source() -> None:
    assert ctypes.sizeof(PreprocessArgs) == args_bytes("preprocess_nv12_f32") == args_bytes("preprocess_nv12_f16")


SIZES = [
    (1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 3), (3, 5), (17, 1), (1, 33), (31, 31), (64, 64), (65, 63), (127, 200),
    (640, 480), (641, 479), (1280, 720), (1920, 1080), (1079, 1921),
]  # fmt: skip


@pytest.mark.parametrize("coding", CODINGS, ids=str)
@pytest.mark.parametrize("size_wh", SIZES, ids=str)
def test_nv12_equals_the_cpu_within_two_grey_levels(on: Ground, size_wh: tuple[int, int], coding: YuvCoding) -> None:
    image = noise(*size_wh, coding)
    for network_wh in ((64, 64), (160, 96)):
        got = run_preprocess([image], network_wh, on=on)[0]
        wanted = on_cpu(by_definition(image), network_wh)
        assert grey_levels_apart(got, wanted) < 2.01, network_wh
        # Being equal nearly everywhere keeps the scores of CPU and GPU together.
        assert (got == wanted).mean() > 0.99, network_wh


@pytest.mark.parametrize("coding", CODINGS, ids=str)
def test_nv12_random_sizes_equal_the_cpu_within_two_grey_levels(on: Ground, coding: YuvCoding) -> None:
    rng = np.random.default_rng(1)
    for seed in range(12):
        image = noise(int(rng.integers(1, 500)), int(rng.integers(1, 500)), coding, seed=seed)
        network_wh = (int(rng.integers(1, 8)) * 32, int(rng.integers(1, 8)) * 32)
        got = run_preprocess([image], network_wh, on=on, spare=int(rng.integers(0, 70)))[0]
        wanted = on_cpu(by_definition(image), network_wh)
        assert grey_levels_apart(got, wanted) < 2.01, (image.size_wh, network_wh)
        assert (got == wanted).mean() > 0.99, (image.size_wh, network_wh)


@pytest.mark.parametrize("coding", CODINGS, ids=str)
def test_nv12_every_level_of_grey_and_the_extremes_are_within_one_level(on: Ground, coding: YuvCoding) -> None:
    greys = np.arange(256, dtype=np.uint8).repeat(2)[None].repeat(2, 0)
    corners = np.array([[[u, v] for u in (0, 1, 128, 254, 255) for v in (0, 1, 128, 254, 255)]], np.uint8)
    neutral = np.full((1, 256, 2), 128, np.uint8)
    images = [Nv12(greys, neutral, coding)]
    images += [Nv12(np.full((2, 50), level, np.uint8), corners, coding) for level in (0, 1, 16, 235, 254, 255)]
    for image in images:
        got = run_preprocess([image], image.size_wh, on=on)[0]
        assert grey_levels_apart(got, on_cpu(by_definition(image), image.size_wh)) < 1.01
    assert np.ptp(run_preprocess(images[:1], (512, 2), on=on)[0], axis=0).max() == 0, "grey has no colour"


def test_nv12_rows_may_be_longer_than_their_pixels(on: Ground) -> None:
    image = noise(65, 33)
    close, apart = (run_preprocess([image], (64, 64), on=on, spare=spare) for spare in (0, 63))
    np.testing.assert_array_equal(close, apart)


def test_images_of_a_batch_may_be_nv12_and_bgr_of_different_sizes(on: Ground) -> None:
    bgr = np.random.default_rng(3).integers(0, 256, (50, 70, 3), np.uint8)
    images: list[Nv12 | Pixels] = [noise(200, 100, CODINGS[3]), bgr, noise(1, 1), noise(97, 95, CODINGS[1])]
    together = run_preprocess(images, (96, 96), on=on)
    assert not np.isnan(together).any()
    for image, got in zip(images, together, strict=True):
        np.testing.assert_array_equal(got, run_preprocess([image], (96, 96), on=on)[0])
    np.testing.assert_array_equal(together[1], on_cpu(bgr, (96, 96)))


def test_nv12_pads_with_grey_where_the_frame_does_not_reach(on: Ground) -> None:
    got = run_preprocess([noise(100, 50)], (64, 64), on=on)[0]
    grey = np.float32(PAD_GREY) * np.float32(1 / 255)
    assert (got[:, :16] == grey).all() and (got[:, 48:] == grey).all()
    assert not (got[:, 16:48] == grey).all()


def test_nv12_puts_red_first(on: Ground) -> None:
    red = Nv12(np.full((32, 32), 81, np.uint8), np.full((16, 16, 2), (90, 240), np.uint8), CODINGS[0])
    got = run_preprocess([red], (32, 32), on=on)[0] * 255
    assert got[0].min() > 253 and got[1:].max() < 2


def test_nv12_half_input_is_the_float_input_rounded(on: Ground) -> None:
    images = [noise(200, 100), noise(31, 17, CODINGS[2])]
    exact = run_preprocess(images, (96, 64), on=on)
    np.testing.assert_array_equal(run_preprocess(images, (96, 64), half=True, on=on), exact.astype(np.float16))


def test_nv12_8k_frame(on: Ground) -> None:
    image = noise(7680, 4320)
    got, wanted = run_preprocess([image], (320, 192), on=on)[0], on_cpu(by_definition(image), (320, 192))
    assert grey_levels_apart(got, wanted) < 2.01
