"""What a user is told of objects that come, stand, walk and leave."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from edged.analysis.options import (
    EventOptions,
    FilterOptions,
    LineOptions,
    MaskOptions,
    SceneOptions,
    TrackOptions,
    ZoneOptions,
)
from edged.core.events import Count
from tests.analysis.scenes import AT_ONCE, BEGAN, Stage

DRIVE = ZoneOptions(name="drive", points=((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)))
GATE = LineOptions(name="gate", points=((0.2, 0.6), (0.8, 0.6)))


def with_(**changes: object) -> Stage:
    return Stage(SceneOptions(events=AT_ONCE, **changes))  # type: ignore[arg-type]


def test_one_visitor_is_one_start_and_one_end() -> None:
    stage = Stage()
    stage.walk("person", [(0.1, 0.8), (0.3, 0.8)], 4.0)
    stage.stay(6.0)
    assert stage.kinds() == ["start", "end left"]
    start, end = stage.said
    assert start.event == end.event
    assert (start.revision, end.revision) == (0, 1)
    assert start.started_at == BEGAN, "when it was first seen, not when it counted"
    assert end.last_seen_at == BEGAN + timedelta(seconds=3.9)
    assert end.duration_s == pytest.approx(3.9)
    assert end.ended_at is not None
    assert end.ended_at - end.last_seen_at == pytest.approx(timedelta(seconds=5.1), abs=timedelta(seconds=0.11))
    assert (end.seen_frames, end.missed_frames) == (40, 0)


def test_start_comes_with_the_frame_that_confirms_and_names_its_detections() -> None:
    stage = Stage()
    events = [stage.frame(("person", 0.3, 0.8))[0] for _ in range(6)]
    assert events[:3] == ["", "", ""], "0.3 s are not over"
    assert events[3:] == [stage.said[0].event] * 3


def test_object_that_is_never_sure_is_nothing() -> None:
    stage = Stage()
    stage.stay(3.0, ("person", 0.3, 0.8), score=0.4)
    assert stage.said == []


def test_filters_by_area_shape_and_score_are_for_their_label() -> None:
    limits = {"person": FilterOptions(max_area=0.01), "car": FilterOptions(min_ratio=1.0)}
    stage = with_(filters=limits)
    stage.stay(1.0, ("person", 0.2, 0.8), ("car", 0.5, 0.8), ("dog", 0.8, 0.8))
    assert [event.label for event in stage.said] == ["dog"]
    strict = with_(filters={"default": FilterOptions(confirm_score=0.9)})
    strict.stay(1.0, ("dog", 0.8, 0.8))
    assert strict.said == []


def test_nothing_counts_in_a_mask_unless_it_is_for_another_label() -> None:
    sky = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 0.5))
    stage = with_(masks=(MaskOptions(points=sky, labels=("bird",)),))
    stage.stay(1.0, ("bird", 0.3, 0.4), ("person", 0.6, 0.4), ("bird", 0.3, 0.9))
    assert sorted(event.label for event in stage.said) == ["bird", "person"]


def test_zone_is_entered_and_left_after_a_while() -> None:
    stage = with_(zones=(DRIVE,))
    stage.walk("person", [(0.3, 0.8), (0.7, 0.8), (0.3, 0.8)], 8.0)
    zones = [event for event in stage.said if "zone" in event.because]
    assert [len(event.zones) for event in zones] == [1, 1]
    (visit,) = zones[1].zones
    assert visit.name == "drive"
    assert visit.left_at is not None
    assert 1.5 < (visit.entered_at - BEGAN).total_seconds() < 2.5
    assert 5.5 < (visit.left_at - BEGAN).total_seconds() < 6.5, "when it left, not when that was sure"


def test_box_that_trembles_on_the_border_says_nothing() -> None:
    stage = with_(zones=(DRIVE,))
    for n in range(60):
        stage.frame(("person", 0.5 + (0.01 if n % 2 else -0.01), 0.8))
    assert stage.kinds() == ["start"]


def test_loitering_is_said_once_and_only_of_its_label() -> None:
    zone = ZoneOptions(name="drive", points=DRIVE.points, loiter_s={"person": 5.0})
    stage = with_(zones=(zone,))
    stage.stay(8.0, ("person", 0.7, 0.8), ("car", 0.9, 0.8))
    loitering = [event for event in stage.said if any(visit.loitering for visit in event.zones)]
    assert [event.label for event in loitering] == ["person"]
    assert loitering[0].duration_s == pytest.approx(5.0, abs=0.21)


@pytest.mark.parametrize(
    ("path", "expected"), [([0.4, 0.8], ["in"]), ([0.8, 0.4], ["out"]), ([0.4, 0.8, 0.4], ["in", "out"])]
)
def test_line_is_crossed_with_a_direction(path: list[float], expected: list[str]) -> None:
    stage = with_(lines=(GATE,))
    stage.walk("person", [(0.5, y) for y in path], 2.0 * (len(path) - 1))
    assert [crossing.direction for crossing in stage.said[-1].lines] == expected
    assert [crossing.direction for event in stage.said for crossing in event.crossed] == expected, "each is new once"
    counts = stage.scene.counts()
    assert counts is not None
    assert counts.lines == {"gate": {"person": {"in": expected.count("in"), "out": expected.count("out")}}}


def test_line_counts_nobody_who_trembles_on_it_or_goes_around_it() -> None:
    stage = with_(lines=(GATE,))
    for n in range(40):
        stage.frame(("person", 0.5, 0.6 + (0.004 if n % 2 else -0.004)))
    stage.walk("person", [(0.5, 0.58), (0.9, 0.58), (0.9, 0.9), (0.5, 0.9)], 6.0)
    assert all(not event.crossed for event in stage.said)


def test_parked_car_keeps_its_event_while_it_is_hidden_or_not_recognised() -> None:
    stage = Stage()
    stage.stay(15.0, ("car", 0.5, 0.8))
    assert stage.kinds() == ["start", "update stationary"]
    stage.looks.verdict = True
    stage.stay(60.0)
    assert stage.kinds()[2:] == ["update heartbeat"], "not detected in this light, but its place looks as before"
    stage.looks.verdict = False
    stage.stay(30.0, ("truck", 0.5, 0.85))
    hidden = [event for event in stage.said if event.label == "car" and event.type == "end"]
    assert hidden == [], "a truck stands before it"


def test_parked_car_that_drove_off_ends() -> None:
    stage = Stage()
    stage.stay(15.0, ("car", 0.5, 0.8))
    stage.stay(6.0)
    assert stage.kinds()[-1] == "end left"


def test_parked_car_that_is_lost_and_found_continues_and_alerts_nobody() -> None:
    stage = Stage()
    stage.stay(15.0, ("car", 0.5, 0.8))
    stage.stay(3600.0 / 60)
    first = stage.said[0].event
    stage.stay(2.0, ("car", 0.505, 0.8), ("car", 0.2, 0.8))
    starts = {round(event.frame.box[0]): event.continues for event in stage.said if event.type == "start"}
    assert sorted(starts.values()) == ["", "", first]


def test_walker_behind_something_for_longer_than_the_limit_is_continued() -> None:
    stage = Stage()
    stage.walk("person", [(0.2, 0.8), (0.4, 0.8)], 2.0)
    stage.stay(6.5)
    stage.walk("person", [(0.5, 0.8), (0.7, 0.8)], 2.0)
    first, _, second = (event for event in stage.said if event.type != "update")
    assert (second.type, second.continues) == ("start", first.event)


def test_who_walked_out_of_the_picture_is_gone_soon() -> None:
    stage = Stage()
    stage.walk("person", [(0.2, 0.8), (0.99, 0.8)], 4.0)
    stage.stay(2.0)
    assert stage.kinds() == ["start", "end left"]


def test_who_comes_after_somebody_walked_out_is_somebody_else() -> None:
    stage = Stage()
    stage.walk("person", [(0.7, 0.8), (0.97, 0.8)], 3.0)
    stage.stay(6.0)
    stage.walk("person", [(0.95, 0.8), (0.6, 0.8)], 3.0)
    assert [event.continues for event in stage.said if event.type == "start"] == ["", ""]


def test_stationary_again_moves_after_a_second() -> None:
    stage = Stage()
    stage.stay(12.0, ("person", 0.3, 0.8))
    stage.frame(("person", 0.35, 0.8))
    stage.stay(2.0, ("person", 0.3, 0.8))
    assert stage.kinds() == ["start", "update stationary"], "one bad box is no move"
    stage.walk("person", [(0.3, 0.8), (0.8, 0.8)], 4.0)
    assert stage.kinds() == ["start", "update stationary", "update stationary"]
    assert [event.stationary_since is None for event in stage.said] == [True, False, True]


def test_updates_keep_their_distance_and_lose_no_change() -> None:
    options = SceneOptions(events=EventOptions(update_min_s=3.0), zones=(DRIVE,), lines=(GATE,))
    stage = Stage(options)
    stage.walk("person", [(0.4, 0.4), (0.4, 0.8), (0.7, 0.8), (0.4, 0.8)], 9.0)
    said = [event for event in stage.said if event.type != "end"]
    gaps = [(later.last_seen_at - earlier.last_seen_at).total_seconds() for earlier, later in pairwise(said)]
    assert min(gaps) > 2.9
    assert {reason for event in said for reason in event.because} >= {"zone", "line"}


def test_camera_that_is_lost_briefly_ends_nothing() -> None:
    stage = Stage()
    stage.stay(2.0, ("person", 0.5, 0.8))
    stage.scene.away(100 + stage.at_s)
    counts = stage.scene.counts()
    assert counts is not None
    assert not counts.available
    stage.pass_time(3.0)
    stage.scene.back()
    stage.stay(1.0, ("person", 0.52, 0.8))
    assert stage.kinds() == ["start"]


def test_camera_that_stays_lost_ends_its_events_as_such() -> None:
    stage = Stage()
    stage.stay(2.0, ("person", 0.5, 0.8))
    stage.scene.away(100 + stage.at_s)
    stage.pass_time(6.0)
    assert stage.kinds() == ["start", "end camera_offline"]
    stage.scene.back()
    stage.stay(1.0, ("person", 0.5, 0.8))
    assert stage.said[-1].continues == stage.said[0].event


def test_frozen_picture_is_not_looked_at() -> None:
    stage = Stage()
    stage.stay(2.0, ("person", 0.5, 0.8))
    stage.scene.away(100 + stage.at_s)
    for _ in range(200):  # the picture stands still, and the person in it
        assert stage.frame(("person", 0.5, 0.8)) == ("",)
        stage.scene.rest(100 + stage.at_s, BEGAN)
    assert stage.kinds() == ["start", "end camera_offline"]


def test_change_of_geometry_keeps_identities_and_leaves_what_is_gone() -> None:
    stage = with_(zones=(DRIVE,))
    stage.stay(2.0, ("person", 0.7, 0.8))
    yard = ZoneOptions(name="yard", points=DRIVE.points)
    stage.scene.configure(SceneOptions(events=AT_ONCE, zones=(yard,)))
    stage.stay(2.0, ("person", 0.7, 0.8))
    assert {event.event for event in stage.said} == {stage.said[0].event}
    assert [(visit.name, visit.left_at is None) for visit in stage.said[-1].zones] == [("drive", False), ("yard", True)]


def test_counts_show_zeros_zones_and_what_moves() -> None:
    stage = with_(zones=(DRIVE,), lines=(GATE,), shown=("person", "car"), track=TrackOptions(stationary_s=2.0))
    assert stage.scene.counts() is None, "nothing is known before the first frame"
    stage.frame()
    counts = stage.scene.counts()
    assert counts is not None
    assert counts.labels == {"person": Count(), "car": Count()}
    assert counts.zones == {"drive": {"person": Count(), "car": Count()}}
    stage.stay(4.0, ("person", 0.3, 0.8), ("dog", 0.7, 0.8))
    counts = stage.scene.counts()
    assert counts is not None
    assert counts.labels == {"person": Count(1, 0), "car": Count(), "dog": Count(1, 0)}
    assert counts.zones["drive"]["dog"] == Count(1, 0)


def test_event_goes_on_being_said() -> None:
    stage = Stage(SceneOptions(events=EventOptions(heartbeat_s=5.0), track=TrackOptions(stationary_s=3600)))
    stage.stay(17.0, ("person", 0.5, 0.8))
    assert stage.kinds() == ["start", *["update heartbeat"] * 3]
