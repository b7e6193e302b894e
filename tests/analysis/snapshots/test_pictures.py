"""Which frame is kept, what its JPEG shows, and how large it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edged.analysis.snapshots.choice import Best, worth
from edged.analysis.snapshots.picture import cropped, with_box
from edged.jpeg import NoPicture, jpeg

SIZE = (1920, 1080)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def test_surer_larger_and_whole_is_better() -> None:
    plain = worth((500, 300, 700, 800), 0.8, SIZE)
    assert worth((500, 300, 700, 800), 0.9, SIZE) > plain
    assert worth((450, 250, 750, 850), 0.8, SIZE) > plain
    assert worth((1720, 300, 1920, 800), 0.8, SIZE) == plain / 2, "cut by the border"
    assert worth((500, 300, 500, 300), 0.8, SIZE) == 0.0


def test_first_is_taken_at_once_and_another_only_if_clearly_better_and_later() -> None:
    best = Best()
    assert best.beaten_by(0.1, 0.0)
    best = Best(0.1, 0.0)
    assert not best.beaten_by(0.115, 5.0)
    assert not best.beaten_by(0.5, 0.9)
    assert best.beaten_by(0.5, 1.0)
    assert not Best().beaten_by(0.0, 0.0), "a box without an area shows nothing"


@pytest.mark.parametrize("size", [(1920, 1080), (3840, 2160), (64, 48)])
def test_jpeg_keeps_within_its_bytes_even_of_noise(size: tuple[int, int]) -> None:
    made = jpeg(noise(*size), most_bytes=200_000)
    assert len(made) <= 200_000
    image = cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert abs(image.shape[1] / image.shape[0] - size[0] / size[1]) < 0.02


def test_jpeg_that_cannot_be_so_small_is_an_error() -> None:
    with pytest.raises(NoPicture, match="needs more than 100 bytes"):
        jpeg(noise(64, 48), most_bytes=100)


def test_crop_shows_the_object_with_some_room_and_stays_in_the_picture() -> None:
    image = np.zeros((1080, 1920, 3), np.uint8)
    part, box = cropped(image, (500, 300, 700, 800))
    assert [*part.shape] == [750, 300, 3]
    assert [*box] == [50, 125, 250, 625]
    part, box = cropped(image, (-20, 900, 100, 1100))
    assert [*part.shape] == [230, 130, 3]
    assert [*box] == [-20, 50, 100, 250]


def test_box_is_drawn_into_a_copy() -> None:
    image = np.zeros((1080, 1920, 3), np.uint8)
    drawn = with_box(image, (500, 300, 700, 800), "person", 0.8)
    assert not image.any()
    assert drawn[550, 498:503].any()
    assert not drawn[550, 600].any()
