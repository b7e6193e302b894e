from __future__ import annotations

import numpy as np
import pytest

from edged.core.types import Floats
from provisioning.data.augment import Affine, Labelled, affine, flip, mixup, mosaic, shift_colours

GREY = 114


def block(side: int, box: tuple[int, int, int, int], *, class_id: int = 0) -> Labelled:
    """A black picture with a white block, labelled."""
    pixels = np.zeros((side, side, 3), np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = 255
    return Labelled(pixels, np.array([box], np.float32), np.array([class_id], np.int32))


def bright_box(pixels: np.ndarray) -> list[float]:
    """Where the white block really is."""
    bright = pixels[..., 0] > 180
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param(Affine(translate=0.1, scale=0.5), id="shift and scale"),
        pytest.param(Affine(translate=0.0, scale=0.0, perspective=0.001), id="perspective"),
    ],
)
def test_affine_moves_boxes_with_their_pixels(ranges: Affine, seed: int) -> None:
    rng = np.random.default_rng(seed)
    moved = affine(block(200, (60, 80, 130, 120)), ranges, output_wh=(200, 200), rng=rng)
    assert moved.pixels.shape == (200, 200, 3)
    assert moved.xyxy[0].tolist() == pytest.approx(bright_box(moved.pixels), abs=2.5)


@pytest.mark.parametrize("seed", range(8))
def test_affine_box_encloses_a_turned_block(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ranges = Affine(degrees=30, shear=10, scale=0.2, translate=0.05)
    moved = affine(block(200, (60, 80, 130, 120)), ranges, output_wh=(200, 200), rng=rng)
    assert moved.xyxy[0].tolist() == pytest.approx(bright_box(moved.pixels), abs=3)


def test_affine_drops_what_leaves_the_picture() -> None:
    picture = Labelled(
        np.zeros((200, 200, 3), np.uint8),
        np.array([[0, 0, 20, 20], [90, 90, 110, 110]], np.float32),
        np.array([0, 1], np.int32),
    )
    moved = affine(picture, Affine(translate=0, scale=0), output_wh=(100, 100), rng=np.random.default_rng(0))
    assert moved.class_id.tolist() == [1]
    assert moved.xyxy.tolist() == [[40, 40, 60, 60]]


@pytest.mark.parametrize(
    ("left", "kept"), [pytest.param(48, 1, id="a third left"), pytest.param(42, 0, id="a strip left")]
)
def test_affine_drops_a_box_of_which_little_is_left(left: int, kept: int) -> None:
    """The middle half of the picture stays: columns 50 to 150."""
    picture = Labelled(
        np.zeros((200, 200, 3), np.uint8),
        np.array([[left - 30, 60, left + 12, 140]], np.float32),
        np.zeros(1, np.int32),
    )
    moved = affine(picture, Affine(translate=0, scale=0), output_wh=(100, 100), rng=np.random.default_rng(0))
    assert len(moved.xyxy) == kept


def test_affine_without_ranges_keeps_the_picture() -> None:
    picture = block(64, (10, 20, 30, 50))
    same = affine(picture, Affine(translate=0, scale=0), output_wh=(64, 64), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(same.pixels, picture.pixels)
    np.testing.assert_allclose(same.xyxy, picture.xyxy, atol=1e-4)


def test_affine_of_a_picture_without_boxes() -> None:
    empty = Labelled(np.zeros((10, 10, 3), np.uint8), np.empty((0, 4), np.float32), np.empty(0, np.int32))
    assert affine(empty, Affine(), output_wh=(8, 8), rng=np.random.default_rng(0)).xyxy.shape == (0, 4)


@pytest.mark.parametrize("seed", range(6))
def test_mosaic_places_four_pictures_with_their_boxes(seed: int) -> None:
    parts = [block(100, (40, 40, 60, 60), class_id=number) for number in range(4)]
    whole = mosaic(parts, side=100, rng=np.random.default_rng(seed))
    assert whole.pixels.shape == (200, 200, 3)
    assert whole.class_id.tolist() == [0, 1, 2, 3]
    for x1, y1, x2, y2 in np.clip(whole.xyxy, 0, 200).astype(int).tolist():
        assert (whole.pixels[y1:y2, x1:x2] == 255).all()
    assert (whole.pixels == 255).all(axis=2).sum() == sum(map(clipped_area, whole.xyxy))


def clipped_area(xyxy: Floats) -> int:
    x1, y1, x2, y2 = np.clip(xyxy, 0, 200).astype(int).tolist()
    return int((x2 - x1) * (y2 - y1))


@pytest.mark.parametrize("horizontally", [True, False])
def test_flip_moves_boxes_with_their_pixels(horizontally: bool) -> None:  # noqa: FBT001
    turned = flip(block(50, (5, 10, 20, 40)), horizontally=horizontally)
    assert turned.xyxy[0].tolist() == bright_box(turned.pixels)
    twice = flip(turned, horizontally=horizontally)
    np.testing.assert_array_equal(twice.xyxy, block(50, (5, 10, 20, 40)).xyxy)


def test_mixup_keeps_the_objects_of_both() -> None:
    mixed = mixup(block(20, (0, 0, 5, 5)), block(20, (10, 10, 20, 20), class_id=3), rng=np.random.default_rng(0))
    assert mixed.class_id.tolist() == [0, 3]
    assert 60 < mixed.pixels[2, 2, 0] < 200
    assert int(mixed.pixels[2, 2, 0]) + int(mixed.pixels[15, 15, 0]) == pytest.approx(255, abs=1)


def test_shift_colours_without_ranges_keeps_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    same = shift_colours(pixels, hue=0, saturation=0, value=0, rng=np.random.default_rng(0))
    assert np.abs(same.astype(int) - pixels).max() <= 8  # OpenCV's 8-bit HSV rounds


def test_shift_colours_changes_them() -> None:
    pixels = np.full((4, 4, 3), (40, 90, 160), np.uint8)
    before = pixels.copy()
    changed = shift_colours(pixels, hue=0.1, saturation=0.5, value=0.5, rng=np.random.default_rng(1))
    assert np.abs(changed.astype(int) - pixels).max() > 10
    np.testing.assert_array_equal(pixels, before)
