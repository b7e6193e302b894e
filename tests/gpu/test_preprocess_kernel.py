"""The preprocessing kernel's own source, run on the processor, against OpenCV's arithmetic in numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edged.core.letterbox import PAD_GREY, Letterbox
from edged.core.types import Pixels, Thresholds
from edged.gpu.layout import Header, PreprocessArgs
from edged.gpu.stages import preprocess_launch
from tests.gpu.ground import GROUNDS, Ground, ground_named
from tests.gpu.host_kernels import args_bytes
from tests.gpu.nv12 import grey_levels_apart, on_cpu

Array = np.ndarray[Any, Any]


def picture(width: int, height: int, *, seed: int = 0) -> Pixels:
    """Noise, the worst case of any interpolation."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def run_preprocess(images: Sequence[Pixels], network_wh: tuple[int, int], *, on: Ground, half: bool = False) -> Array:
    header = Header(num_classes=1, max_batch=len(images))
    block = on.array(np.zeros(header.nbytes, np.uint8))
    frames = [on.array(image) for image in images]
    boxes = [Letterbox.fit((image.shape[1], image.shape[0]), network_wh) for image in images]
    header.write(block, Thresholds(), boxes, [frame.ctypes.data for frame in frames])
    shape = (len(images), 3, network_wh[1], network_wh[0])
    out = on.array(np.full(shape, np.nan, np.float16 if half else np.float32))
    launch = preprocess_launch(
        frames=block.ctypes.data + header.frames,
        network_input=out.ctypes.data,
        network_wh=network_wh,
        batch=len(images),
        half=half,
    )
    on.run(launch)
    return out


@pytest.fixture(params=GROUNDS)
def on(request: pytest.FixtureRequest) -> Ground:
    return ground_named(request.param)


def test_preprocess_args_have_the_layout_of_the_source() -> None:
    assert ctypes.sizeof(PreprocessArgs) == args_bytes("preprocess_f32") == args_bytes("preprocess_f16")


SIZES = [
    (1, 1), (2, 1), (1, 2), (3, 5), (17, 1), (1, 33), (31, 31), (64, 64), (65, 63), (127, 200), (333, 77),
    (640, 480), (641, 479), (1280, 720), (1920, 1080), (1079, 1921),
]  # fmt: skip


@pytest.mark.parametrize("size_wh", SIZES, ids=str)
@pytest.mark.parametrize("network_wh", [(64, 64), (96, 32), (160, 256)], ids=str)
def test_preprocess_equals_opencv_within_one_grey_level(
    on: Ground, size_wh: tuple[int, int], network_wh: tuple[int, int]
) -> None:
    image = picture(*size_wh)
    got = run_preprocess([image], network_wh, on=on)[0]
    wanted = on_cpu(image, network_wh)
    assert grey_levels_apart(got, wanted) < 1.01
    # Within one level is the contract; being equal nearly everywhere keeps the scores of CPU and GPU together.
    assert (got == wanted).mean() > 0.99


@pytest.mark.parametrize("seed", range(8))
def test_preprocess_random_sizes_equal_opencv_within_one_grey_level(on: Ground, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(10):
        image = picture(int(rng.integers(1, 700)), int(rng.integers(1, 700)), seed=seed)
        network_wh = (int(rng.integers(1, 8)) * 32, int(rng.integers(1, 8)) * 32)
        got, wanted = run_preprocess([image], network_wh, on=on)[0], on_cpu(image, network_wh)
        assert grey_levels_apart(got, wanted) < 1.01, (image.shape, network_wh)
        assert (got == wanted).mean() > 0.99, (image.shape, network_wh)


def test_preprocess_a_frame_of_the_networks_size_is_copied_exactly(on: Ground) -> None:
    image = picture(96, 64)
    np.testing.assert_array_equal(run_preprocess([image], (96, 64), on=on)[0], on_cpu(image, (96, 64)))


def test_preprocess_frames_of_different_sizes_share_a_batch(on: Ground) -> None:
    images = [picture(200, 100), picture(50, 70), picture(1, 1), picture(96, 96)]
    together = run_preprocess(images, (96, 96), on=on)
    for image, got in zip(images, together, strict=True):
        np.testing.assert_array_equal(got, run_preprocess([image], (96, 96), on=on)[0])


def test_preprocess_pads_with_grey_where_the_frame_does_not_reach(on: Ground) -> None:
    got = run_preprocess([picture(100, 50)], (64, 64), on=on)[0]  # resized to 64x32, 16 rows above and below
    grey = np.float32(PAD_GREY) * np.float32(1 / 255)
    assert (got[:, :16] == grey).all() and (got[:, 48:] == grey).all()
    assert not (got[:, 16:48] == grey).all()


def test_preprocess_puts_red_first(on: Ground) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 2] = 255  # BGR
    got = run_preprocess([image], (32, 32), on=on)[0]
    assert got[0].min() == np.float32(255) * np.float32(1 / 255)
    assert got[1:].max() == 0


def test_preprocess_half_input_is_the_float_input_rounded(on: Ground) -> None:
    images = [picture(200, 100), np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3).astype(np.uint8)]
    exact = run_preprocess(images, (96, 64), on=on)
    np.testing.assert_array_equal(run_preprocess(images, (96, 64), half=True, on=on), exact.astype(np.float16))


def test_preprocess_8k_frame(on: Ground) -> None:
    image = picture(7680, 4320)
    got, wanted = run_preprocess([image], (320, 192), on=on)[0], on_cpu(image, (320, 192))
    assert grey_levels_apart(got, wanted) < 1.01
    assert (got == wanted).mean() > 0.99
