"""What a user may expect of identities: they last, they do not depend on the frame rate or on the order of boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.analysis.tracking.motion import MotionModel
from edged.analysis.tracking.track import Track
from edged.analysis.tracking.tracker import Tracker

SURE, CONFIRM_S = 0.35, 0.3
Seen = list[int]  # serial of each detection's confirmed track, 0 for none


def make(*, lost_s: float = 5.0, confirm_s: float = CONFIRM_S, motion: MotionModel | None = None) -> Tracker:
    def confirms(track: Track) -> bool:
        return track.age_s >= confirm_s - 1e-6

    return Tracker(sure=lambda _: SURE, confirms=confirms, lost_s=lost_s, motion=motion)


def look(tracker: Tracker, at_s: float, boxes: object, *, score: float = 0.8, labels: list[str] | None = None) -> Seen:
    xyxy = np.array(boxes, np.float64).reshape(-1, 4)
    found = tracker.update(at_s, xyxy, np.full(len(xyxy), score), labels or ["person"] * len(xyxy))
    tracker.drop_gone()
    assert found is not None
    return [track.serial if track is not None and track.confirmed else 0 for track in found]


def walker(at_s: float, *, start: float = 50.0, speed: float = 60.0, y: float = 100.0) -> list[float]:
    x = start + speed * at_s
    return [x, y, x + 40, y + 100]


@pytest.mark.parametrize("fps", [30.0, 10.0, 5.0, 3.0, 2.0])
def test_walker_keeps_one_identity_at_any_rate(fps: float) -> None:
    tracker = make()
    seen = [look(tracker, n / fps, [walker(n / fps)])[0] for n in range(int(8 * fps))]
    confirmed = [serial for serial in seen if serial]
    assert set(confirmed) == {1}
    assert len(confirmed) >= len(seen) - CONFIRM_S * fps - 2


@pytest.mark.parametrize("fps", [10.0, 5.0, 3.0])
def test_walkers_who_pass_each_other_keep_theirs(fps: float) -> None:
    tracker = make()
    for n in range(int(8 * fps)):
        at_s = n / fps
        there, back = walker(at_s), walker(at_s, start=530.0, speed=-60.0, y=130.0)
        seen = look(tracker, at_s, [there, back])
    assert seen == [1, 2]


def test_identity_lasts_through_a_gap_below_the_limit_and_no_longer() -> None:
    for gap_s, expected in ((4.0, 1), (7.0, 2)):
        tracker = make(lost_s=5.0)
        for n in range(20):
            look(tracker, n / 10, [[50, 50, 90, 150]])
        for n in range(20, 20 + int(gap_s * 10)):
            look(tracker, n / 10, [])
        for n in range(5):
            seen = look(tracker, 2.0 + gap_s + n / 10, [[52, 50, 92, 150]])
        assert seen == [expected], f"a gap of {gap_s} s"


def test_pause_in_which_nobody_looked_ends_nothing() -> None:
    tracker = make(lost_s=5.0)
    for n in range(20):
        look(tracker, n / 10, [[50, 50, 90, 150]])
    look(tracker, 3600.0, [])
    assert look(tracker, 3600.1, [[51, 50, 91, 150]]) == [1], "one look in vain after an hour is no absence of an hour"


def test_frame_out_of_order_changes_nothing() -> None:
    tracker = make()
    for n in range(10):
        look(tracker, n / 10, [walker(n / 10)])
    before = tracker.places().copy()
    assert tracker.update(0.4, np.array([walker(0.4)]), np.array([0.9]), ["person"]) is None
    assert (tracker.places() == before).all()
    assert look(tracker, 1.0, [walker(1.0)]) == [1]


def test_unsure_detection_goes_on_with_a_track_and_begins_none() -> None:
    tracker = make()
    for n in range(10):
        look(tracker, n / 10, [[50, 50, 90, 150]])
    assert look(tracker, 1.0, [[51, 50, 91, 150], [300, 50, 340, 150]], score=0.3) == [1, 0]
    assert len(tracker.tracks) == 1


def test_object_seen_once_is_never_confirmed() -> None:
    tracker = make()
    assert look(tracker, 0.0, [[50, 50, 90, 150]]) == [0]
    for n in range(1, 40):
        look(tracker, n / 10, [])
    assert tracker.tracks == []


def test_other_label_in_the_same_place_is_the_same_object() -> None:
    tracker = make()
    labels = ["car", "car", "car", "truck", "car", "car"]
    for n, label in enumerate(labels):
        seen = look(tracker, n / 10, [[50, 50, 150, 100]], labels=[label])
    assert (seen, tracker.tracks[0].label) == ([1], "car")
    for n in range(6, 20):
        look(tracker, n / 10, [[50, 50, 150, 100]], labels=["truck"])
    assert tracker.tracks[0].label == "truck"


def test_two_labels_at_once_in_one_place_are_one_object() -> None:
    tracker = make()
    for n in range(10):
        seen = look(tracker, n / 10, [[50, 50, 150, 100], [51, 50, 151, 101]], labels=["car", "truck"])
    assert (seen, len(tracker.tracks)) == ([1, 0], 1)


def test_labels_do_not_mix_where_boxes_only_touch() -> None:
    tracker = make()
    for n in range(10):
        seen = look(tracker, n / 10, [[50, 50, 90, 150], [70, 100, 130, 150]], labels=["person", "dog"])
    assert seen == [1, 2]
    assert [track.label for track in tracker.tracks] == ["person", "dog"]


def crowd(rng: np.random.Generator, objects: int, frames: int, dt_s: float) -> list[tuple[float, np.ndarray]]:
    low = rng.uniform(0, 800, (objects, 2))
    speed = rng.normal(0, 30, (objects, 2))
    wh = rng.uniform(30, 90, (objects, 2))
    history = []
    for n in range(frames):
        place = low + speed * n * dt_s + rng.normal(0, 1, (objects, 2))
        boxes = np.concatenate([place, place + wh], axis=1)
        history.append((n * dt_s, boxes[rng.random(objects) > 0.2]))
    return history


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.125, 0.5, 4.0, 64.0]))
def test_time_scales(seed: int, factor: float) -> None:
    """The same history `factor` times as fast, with every limit in seconds scaled alike, gives the same identities."""
    plain = MotionModel()
    scaled = MotionModel(
        measured=plain.measured,
        speed=plain.speed / factor,
        restless=plain.restless / factor**1.5,
        keeps_s=plain.keeps_s * factor,
    )
    history = crowd(np.random.default_rng(seed), 6, 30, 0.2)
    one, other = make(lost_s=1.0), make(lost_s=1.0 * factor, confirm_s=CONFIRM_S * factor, motion=scaled)
    for at_s, boxes in history:
        assert look(one, at_s, boxes) == look(other, at_s * factor, boxes)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_order_of_detections_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = make(), make()
    names: dict[int, int] = {}
    for at_s, boxes in crowd(rng, 8, 25, 0.1):
        order = rng.permutation(len(boxes))
        seen, shuffled = look(one, at_s, boxes), look(other, at_s, boxes[order])
        for index, serial in zip(order.tolist(), shuffled, strict=True):
            assert bool(seen[index]) == bool(serial)
            assert names.setdefault(serial, seen[index]) == seen[index]


def test_a_thousand_objects() -> None:
    rng = np.random.default_rng(5)
    low = rng.uniform(0, 4000, (1000, 2))
    boxes = np.concatenate([low, low + np.array([12, 20])], axis=1)
    tracker = make()
    for n in range(5):
        seen = look(tracker, n / 10, boxes + 0.1 * n)
    assert len(set(seen) - {0}) > 900  # some lie in each other


def test_empty_frames_only() -> None:
    tracker = make()
    assert [look(tracker, n / 10, []) for n in range(3)] == [[], [], []]


def test_median_and_top_of_the_scores() -> None:
    tracker = make()
    for n, score in enumerate([0.9, 0.4, 0.5, 0.6, 0.4]):
        look(tracker, n / 10, [[50, 50, 90, 150]], score=score)
    (track,) = tracker.tracks
    assert (track.median, track.top, track.score, track.hits) == (0.5, 0.9, 0.4, 5)
