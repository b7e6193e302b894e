"""Frozen pictures are told from still scenes by their share, over a window."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.capture.child.fingerprint import fingerprint
from edged.capture.parent.frozen import FrozenWatch


def run(watch: FrozenWatch, same: list[bool], *, rate: float = 2.0, start_s: float = 0.0) -> list[bool]:
    states = []
    for index, one in enumerate(same):
        watch.add(start_s + index / rate, same=one)
        states.append(watch.frozen)
    return states


@pytest.mark.parametrize("rate", [0.5, 2.0, 30.0])
def test_watch_frozen_within_the_window(rate: float) -> None:
    mostly = [index % 10 != 9 for index in range(int(30 * rate))]  # a frozen source: 9 of 10 pairs identical
    states = run(FrozenWatch(20.0), mostly, rate=rate)
    first_s = states.index(True) / rate
    assert 19.9 <= first_s <= 30
    assert all(states[states.index(True) :])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_watch_still_scene_is_not_frozen(share: float) -> None:
    random = np.random.default_rng(0)
    assert not any(run(FrozenWatch(20.0), (random.random(5000) < share).tolist()))


def test_watch_thaws_soon() -> None:
    watch = FrozenWatch(20.0)
    assert run(watch, [True] * 60)[-1]
    states = run(watch, [False] * 20, start_s=30.0)
    assert states.index(False) <= 8


def test_watch_off_is_never_frozen() -> None:
    assert not any(run(FrozenWatch(0.0), [True] * 1000))


def test_watch_few_pairs_are_no_proof() -> None:
    assert not any(run(FrozenWatch(20.0), [True] * 3, rate=0.1))


@pytest.mark.parametrize("shape", [(36, 64, 3), (1080, 1920, 3), (1, 1, 3), (480, 640, 3)])
def test_fingerprint_any_size(shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert fingerprint(picture) == fingerprint(picture.copy())
    assert fingerprint(picture) != fingerprint(255 - picture)
    assert len(fingerprint(picture)) <= 128 * 72 * 3


@pytest.mark.parametrize("name", ["night-street", "pets", "bottles-no-people", "one-by-one-person"])
def test_fingerprint_real_scenes_raise_no_alarm(test_data: Path, name: str) -> None:
    capture = cv2.VideoCapture(str(test_data / "videos" / f"{name}.mp4"), cv2.CAP_FFMPEG)
    prints = []
    while True:
        done, picture = capture.read()
        if not done:
            break
        prints.append(fingerprint(np.asarray(picture, np.uint8)))
    assert len(prints) > 100
    same = [one == two for one, two in itertools.pairwise(prints)]
    assert sum(same) / len(same) < 0.1
    assert not any(run(FrozenWatch(2.0), same, rate=10.0))
