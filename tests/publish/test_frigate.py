"""The mirror of Frigate's topics, as an automation written for Frigate reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from edged.core.events import Count, Snapshot, SnapshotFacts, ZoneVisit
from edged.core.watched import Watched
from edged.publish.frigate.mirror import FrigateMirror
from tests.brokers import Broker, Subscriber, wait_for
from tests.gates import Gate
from tests.publish.results import counts, event, options

AT = datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=timezone.utc)
# The fields of an event in https://docs.frigate.video/integrations/mqtt/#frigateevents that blueprints read.
FIELDS = """
    id camera frame_time snapshot label sub_label top_score false_positive start_time end_time score box area ratio
    region current_zones entered_zones has_snapshot has_clip active stationary motionless_count position_changes
    attributes
"""


@contextmanager
def mirroring(port: int, *cameras: str) -> Iterator[FrigateMirror]:
    watched = [Watched(name) for name in cameras or ("gate", "yard")]
    mirror = FrigateMirror(options(port), client_id="edged-box-frigate", prefix="frigate", cameras=watched)
    try:
        wait_for(lambda: mirror.summary == "Frigate's topics connected")
        yield mirror
    finally:
        mirror.close()


def said(seen: Subscriber) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in seen.payloads("frigate/events")]


def test_an_event_is_new_updated_and_ended_with_its_state_before(broker: Broker) -> None:
    visit = ZoneVisit("drive", AT, None, loitering=False)
    left = ZoneVisit("drive", AT, AT, loitering=False)
    picture = SnapshotFacts(7, AT, (1.0, 2.0, 3.0, 4.0), "ab" * 32, "stored")
    with Subscriber(broker.port) as seen, mirroring(broker.port) as mirror:
        mirror.event(event("start"))
        mirror.event(event("start", ulid="01KAZ0000000000000000000BB"))
        mirror.event(event("update", 1, zones=(visit,), snapshot=picture))
        mirror.event(event("end", 2, zones=(left,), snapshot=picture, stationary_since=AT))
        wait_for(lambda: len(said(seen)) == 4)
    first, _, update, end = said(seen)
    assert [each["type"] for each in (first, update, end)] == ["new", "update", "end"]
    assert first["before"] == first["after"]
    assert update["before"] == first["after"]
    assert end["before"] == update["after"]
    assert set(FIELDS.split()) <= set(first["after"])
    assert first["after"]["box"] == [10, 20, 110, 220]
    assert first["after"]["area"] == 20_000
    assert first["after"]["start_time"] == AT.timestamp()
    assert (first["after"]["end_time"], end["after"]["end_time"]) == (None, AT.timestamp())
    assert (update["after"]["current_zones"], update["after"]["entered_zones"]) == (["drive"], ["drive"])
    assert (end["after"]["current_zones"], end["after"]["entered_zones"]) == ([], ["drive"])
    assert (first["after"]["has_snapshot"], update["after"]["has_snapshot"]) == (False, True)
    assert (update["after"]["stationary"], end["after"]["stationary"]) == (False, True)


def test_counts_of_cameras_and_of_zones_over_all_cameras(broker: Broker) -> None:
    both = {"person": Count(2, 1), "traffic/light": Count(1, 0)}
    with Subscriber(broker.port) as seen, mirroring(broker.port) as mirror:

        def shows(**expected: int) -> None:
            topics = {name.replace("__", "/"): str(number).encode() for name, number in expected.items()}
            wait_for(lambda: {topic: seen.last(f"frigate/{topic}") for topic in topics} == topics, what=str(topics))

        mirror.objects(counts(0, labels=both, zones={"drive": {"person": Count(1, 1)}}))
        shows(gate__person=2, gate__person__active=1, gate__all=3, gate__all__active=1, gate__traffic_light=1)
        mirror.objects(counts(1, camera="yard", zones={"drive": {"person": Count(1, 0)}}))
        shows(drive__person=2, drive__person__active=1, drive__all=2, yard__person=1)
        mirror.objects(counts(0, camera="yard", zones={"drive": {"person": Count()}}, available=False))
        mirror.objects(counts(3))
        shows(gate__person=3, yard__person=1, drive__person=1)  # the last that was seen of the yard
        mirror.watch([Watched("gate")])
        wait_for(lambda: not seen.last("frigate/yard/person"), what="nothing is retained of a removed camera")
        wait_for(lambda: not seen.last("frigate/drive/person"), what="nor of a zone that no camera has any more")


def test_counts_and_pictures_are_retained(broker: Broker) -> None:
    with mirroring(broker.port) as mirror:
        mirror.objects(counts(2))
        mirror.snapshot(Snapshot("gate", "person", "01KAZ0000000000000000000AA", b"\xff\xd8picture"))
        with Subscriber(broker.port) as late:
            wait_for(lambda: late.last("frigate/gate/person") == b"2")
            wait_for(lambda: late.last("frigate/gate/person/snapshot") == b"\xff\xd8picture")


def test_nothing_seen_is_said_and_a_stop_leaves_no_count(broker: Broker) -> None:
    with mirroring(broker.port) as mirror, Subscriber(broker.port) as seen:
        mirror.objects(counts(0, labels={}))
        wait_for(lambda: seen.last("frigate/gate/all") == b"0")
        mirror.objects(counts(2, zones={"drive": {"person": Count(2, 2)}}))
        wait_for(lambda: seen.last("frigate/drive/person") == b"2")
    with Subscriber(broker.port) as late:
        wait_for(lambda: late.last("frigate/available") == b"offline")
        counted = ("gate/person", "gate/all", "drive/person")
        wait_for(lambda: {late.last(f"frigate/{topic}") for topic in counted} == {b"0"})


def test_available_says_online_offline_and_offline_after_a_crash(broker: Broker) -> None:
    with Subscriber(broker.port) as seen:
        with mirroring(broker.port):
            wait_for(lambda: seen.last("frigate/available") == b"online")
        wait_for(lambda: seen.last("frigate/available") == b"offline")
        with Gate(broker.port) as gate, mirroring(gate.port):
            wait_for(lambda: seen.last("frigate/available") == b"online")
            gate.close()
            wait_for(lambda: seen.last("frigate/available") == b"offline", what="the last will")
            gate.open()
            wait_for(lambda: seen.last("frigate/available") == b"online", what="back again")
