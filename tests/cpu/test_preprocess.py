"""One letterbox for training, calibration and inference, and it is YOLOv5's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edged.core.types import Pixels
from edged.cpu.preprocess import Preprocessor, letterbox_image, to_network_input
from edged.cpu.stages import NUMPY, Stages, fastest


def noise(width: int, height: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def plain_letterbox(image: Pixels, network_wh: tuple[int, int]) -> Pixels:
    """YOLOv5's letterbox with `auto=False`, retold with cv2.copyMakeBorder."""
    height, width = image.shape[:2]
    ratio = min(network_wh[1] / height, network_wh[0] / width)
    new = (round(width * ratio), round(height * ratio))
    dw, dh = (network_wh[0] - new[0]) / 2, (network_wh[1] - new[1]) / 2
    if (width, height) != new:
        image = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    top, bottom, left, right = round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1)
    bordered: Pixels = cv2.copyMakeBorder(  # type: ignore[assignment]
        image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114)
    )
    return bordered


SIZES = [(320, 320), (640, 480), (481, 361), (37, 211), (1279, 717), (2, 2), (320, 1), (3000, 20)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("network_wh", [(320, 320), (416, 256)], ids=["square", "wide"])
def test_letterbox_image_is_the_published_one(size: tuple[int, int], network_wh: tuple[int, int]) -> None:
    image = noise(*size)
    np.testing.assert_array_equal(letterbox_image(image, network_wh)[0], plain_letterbox(image, network_wh))


@pytest.mark.parametrize("stages", [NUMPY, fastest()], ids=lambda stages: stages.made_of)
@pytest.mark.parametrize(
    "sizes", [SIZES[:3] * 3, ([*SIZES, (64, 200), (832, 512)]) * 2], ids=["kept", "too-many-to-keep"]
)
def test_preprocessor_equals_letterbox_and_conversion_for_frames_of_changing_size(
    stages: Stages, sizes: list[tuple[int, int]]
) -> None:
    preprocess = Preprocessor((416, 256), filler=stages.filler)
    for seed, size in enumerate(sizes):
        image = noise(*size, seed=seed)
        canvas, expected_box = letterbox_image(image, (416, 256))
        box = preprocess(image)
        assert box == expected_box
        np.testing.assert_array_equal(preprocess.blob[0], to_network_input(canvas))


def test_to_network_input_is_rgb_planes_in_0_to_1() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = (10, 20, 255)  # blue, green, red
    planes = to_network_input(image)
    assert planes.shape == (3, 2, 3)
    np.testing.assert_allclose(planes[:, 0, 1], [1.0, 20 / 255, 10 / 255], rtol=1e-6)
