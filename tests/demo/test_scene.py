from __future__ import annotations

import itertools

import numpy as np
import pytest

from edged.demo.scene import Scene

SIZE = (320, 180)
SEEDS = range(6)


def still(seed: int, *, people: int | None = None) -> Scene:
    """A scene without sensor noise and shadows, so that pixels change only where somebody is."""
    scene = Scene(seed, SIZE, people=people)
    scene._noise = 0.0
    scene._shadow = 0.0
    return scene


def test_scene_repeats_itself() -> None:
    first, second = Scene(4, SIZE).frame(2.5), Scene(4, SIZE).frame(2.5)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_scene_differs_between_seeds_and_times() -> None:
    first = Scene(4, SIZE).frame(2.5)[0]
    assert np.abs(first.astype(int) - Scene(5, SIZE).frame(2.5)[0]).mean() > 5
    assert not np.array_equal(first, Scene(4, SIZE).frame(2.7)[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_scene_gives_pictures_and_boxes_inside(seed: int) -> None:
    pixels, xyxy = Scene(seed, SIZE).frame(1.0)
    assert pixels.shape == (SIZE[1], SIZE[0], 3)
    assert pixels.dtype == np.uint8
    assert xyxy.dtype == np.float32
    assert xyxy.shape == (len(xyxy), 4)
    assert (xyxy[:, :2] >= 0).all()
    assert (xyxy[:, 2:] <= SIZE).all()
    assert (xyxy[:, 2:] > xyxy[:, :2]).all()


def test_scene_without_people_is_empty() -> None:
    pixels, xyxy = Scene(1, SIZE, people=0).frame(0.0)
    assert xyxy.shape == (0, 4)
    assert pixels.std() > 10


def test_scenes_show_people_most_of_the_time() -> None:
    counts = [len(Scene(seed, SIZE).frame(time)[1]) for seed in range(10) for time in (0.0, 7.0)]
    assert sum(count > 0 for count in counts) >= 14
    assert max(counts) >= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_scene_boxes_are_where_the_people_are(seed: int) -> None:
    """Against the same street without people: changed pixels lie in the boxes, and fill a good part of them."""
    pixels, xyxy = still(seed).frame(3.0)
    street, _ = still(seed, people=0).frame(3.0)
    changed = np.abs(pixels.astype(int) - street).max(axis=2) > 12
    inside = np.zeros_like(changed)
    for x1, y1, x2, y2 in xyxy.astype(int).tolist():
        assert changed[y1:y2, x1:x2].mean() > 0.2
        inside[max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = True
    if len(xyxy):
        # What is outside belongs to people who are too far away or cut off too much for a box.
        assert (changed & ~inside).sum() < 0.35 * changed.sum()


def test_scene_people_walk() -> None:
    """From one moment to the next, boxes move by steps, not by jumps."""
    scene = Scene(2, SIZE, people=1)
    tracks = [scene.frame(time / 5)[1] for time in range(60)]
    pairs = [(a[0], b[0]) for a, b in itertools.pairwise(tracks) if len(a) == len(b) == 1]
    assert len(pairs) > 10
    moves = np.array([np.abs(b - a).max() for a, b in pairs])
    assert np.median(moves) > 0.5
    assert np.median(moves) < 30
