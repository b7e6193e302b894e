"""Messages of events: as their schema says, small, and with exactly one end for each start, whatever happens."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edged.core.events import Carried, LineCrossing, LineKey, OpenEvent, SnapshotFacts, ZoneVisit
from edged.core.ulid import new_ulid
from edged.publish.event_payload import event_payload, objects_payload
from edged.publish.events import MAX_EVENT_BYTES
from edged.publish.mqtt import MqttPublisher
from edged.publish.options import OutboxOptions
from edged.publish.outbox_file import DATABASE
from edged.publish.payload import encode
from tests.brokers import Broker, Subscriber, wait_for
from tests.publish.results import BASE, DETECTIONS, ORIGIN, counts, event, options, result
from tests.publish.test_payload import NOON, validate

EVENTS = f"{BASE}/gate/events"
FULL: dict[str, Any] = {
    "zones": tuple(ZoneVisit(f"zone-{n}-{'x' * 50}", NOON, NOON, loitering=True) for n in range(8)),
    "lines": tuple(LineCrossing(f"line-{n}-{'x' * 50}", "in", NOON) for n in range(16)),
    "stationary_since": NOON,
    "continues": "01KAZ0000000000000000000BB",
    "snapshot": SnapshotFacts(7, NOON, (1.0, 2.0, 3.0, 4.0), "0" * 64, "stored"),
}


def opened(
    port: int, outbox: Path | None, *, session: str = "session", on_carried: Callable[[Carried], None] = lambda _: None
) -> MqttPublisher:
    kept = None if outbox is None else OutboxOptions(outbox, detections=False)
    return MqttPublisher(options(port), replace(ORIGIN, session=session), outbox=kept, on_carried=on_carried)


def messages(seen: Subscriber, topic: str = EVENTS) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in seen.payloads(topic)]


@pytest.mark.parametrize("kind", ["start", "update", "end"])
@pytest.mark.parametrize("changes", [{}, FULL], ids=["plain", "full"])
def test_event_is_what_its_schema_says(kind: Any, changes: dict[str, Any]) -> None:
    got = validate("events", encode(event_payload(event(kind, 3, **changes), ORIGIN, published_at=NOON)))
    assert (got["type"], got["revision"], got["label"], got["duration_s"]) == (kind, 3, "person", 1.5)
    assert got["score"] == {"last": 0.71, "median": 0.6523, "top": 0.8123}
    assert got["frame"]["box"] == [10.0, 20.0, 110.0, 220.0]
    assert (got["ended_at"] is None) == (kind != "end")
    assert len(got["zones"]) == len(changes.get("zones", ()))


def test_counts_are_what_their_schema_says() -> None:
    told = replace(counts(2), zones={"drive": counts(1).labels}, lines={"gate": {"person": {"in": 3, "out": 0}}})
    got = validate("objects", encode(objects_payload(told, ORIGIN)))
    assert got["labels"] == {"person": {"all": 2, "active": 2}}
    assert got["zones"] == {"drive": {"person": {"all": 1, "active": 1}}}
    assert got["lines"] == {"gate": {"person": {"in": 3, "out": 0}}}


def test_event_arrives_with_and_without_an_outbox(broker: Broker, tmp_path: Path) -> None:
    for outbox in (None, tmp_path / "outbox"):
        with Subscriber(broker.port) as seen:
            ours = opened(broker.port, outbox)
            wait_for(lambda: ours.counters().connected)  # noqa: B023
            for revision, kind in enumerate(("start", "update", "end")):
                ours.event(event(kind, revision))  # type: ignore[arg-type]
            wait_for(lambda: len(messages(seen)) == 3, what="three messages")
            ours.close()
            assert [each["type"] for each in messages(seen)] == ["start", "update", "end"]
            for payload in seen.payloads(EVENTS):
                assert ("delivery" in validate("events", payload)) == (outbox is not None)


def test_events_wait_for_the_broker_while_detections_do_not(broker: Broker, tmp_path: Path) -> None:
    broker.kill()
    ours = opened(broker.port, tmp_path / "outbox")
    ours.event(event())
    for sequence in range(3):
        ours.publish(result(sequence))
    wait_for(lambda: ours.counters().waiting == 1, what="the event waits")
    assert dict(ours.counters().dropped) == {"offline": 3}
    broker.start()
    wait_for(lambda: ours.counters().connected and not ours.counters().waiting, what="the broker has the event")
    with Subscriber(broker.port) as seen:
        ours.publish(result(9))
        wait_for(lambda: messages(seen, DETECTIONS), what="a detection of now")
        ours.close()
        assert [each["sequence"] for each in messages(seen, DETECTIONS)] == [9]


def test_large_event_loses_its_oldest_crossings_and_stays_within_four_kilobytes(broker: Broker, tmp_path: Path) -> None:
    with Subscriber(broker.port) as seen:
        ours = opened(broker.port, tmp_path / "outbox")
        ours.event(event(**FULL))
        wait_for(lambda: messages(seen))
        ours.close()
    (payload,) = seen.payloads(EVENTS)
    got = validate("events", payload)
    assert len(payload) <= MAX_EVENT_BYTES
    assert 0 < len(got["lines"]) < 16
    assert got["lines"][-1]["name"].startswith("line-15")


def test_event_left_open_is_ended_once_by_the_next_run(broker: Broker, tmp_path: Path) -> None:
    carried: list[Carried] = []
    with Subscriber(broker.port) as seen:
        first = opened(broker.port, tmp_path / "outbox", session="one")
        crossing = LineCrossing("gate", "in", NOON)
        first.event(event(ulid="01KAZ0000000000000000000AA"))
        first.event(event(ulid="01KAZ0000000000000000000BB", stationary_since=NOON, label="car"))
        first.event(event("update", 1, ulid="01KAZ0000000000000000000AA", crossed=(crossing, crossing)))
        first.event(event("end", 1, ulid="01KAZ0000000000000000000BB"))
        first.event(event(ulid="01KAZ0000000000000000000CC", stationary_since=NOON, label="car"))
        wait_for(lambda: len(messages(seen)) == 5)
        first.close()
        for session in ("two", "three"):
            again = opened(broker.port, tmp_path / "outbox", session=session, on_carried=carried.append)
            wait_for(lambda n=session: len(carried) == (1 if n == "two" else 2))  # type: ignore[misc]
            wait_for(lambda: again.counters().connected and not again.counters().waiting)  # noqa: B023
            again.close()
    ends = [each for each in messages(seen) if each["because"] == ["restart"]]
    assert [each["event"][-2:] for each in ends] == ["AA", "CC"]
    assert [(each["revision"], each["session"]) for each in ends] == [(2, "one"), (1, "one")]
    for each in ends:
        validate("events", encode(each))
    box = (10.0 / 640, 20.0 / 480, 110.0 / 640, 220.0 / 480)
    assert carried[0].events == (
        OpenEvent("01KAZ0000000000000000000AA", "gate", "person", box, stationary=False),
        OpenEvent("01KAZ0000000000000000000CC", "gate", "car", box, stationary=True),
    )
    assert carried[1].events == ()
    assert carried[0].crossings == carried[1].crossings == {LineKey("gate", "gate", "person", "in"): 2}
    assert carried[0].since == carried[1].since < datetime.now(timezone.utc)


def test_damaged_outbox_loses_its_open_events_and_says_so(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(broker.port, tmp_path / "outbox", session="one")
    first.event(event())
    wait_for(lambda: first.counters().connected and not first.counters().waiting)
    first.close()
    path = tmp_path / "outbox" / DATABASE
    path.write_bytes(path.read_bytes()[:5000])
    carried: list[Carried] = []
    again = opened(broker.port, tmp_path / "outbox", session="two", on_carried=carried.append)
    wait_for(lambda: carried)
    again.close()
    assert carried[0].events == ()
    assert "put aside" in caplog.text


KILLED = """
import sys, time, random
from pathlib import Path
from datetime import datetime, timezone
from edged.core.ulid import new_ulid
from tests.publish.results import event
from tests.publish.test_events import opened
ours = opened(int(sys.argv[1]), Path(sys.argv[2]), session=sys.argv[3])
chance = random.Random(sys.argv[3])
alive = []
while True:
    if len(alive) < 5 and chance.random() < 0.4:
        alive.append([new_ulid(datetime.now(timezone.utc)), 0])
        ours.event(event(ulid=alive[-1][0]))
    elif alive:
        each = chance.choice(alive)
        each[1] += 1
        over = chance.random() < 0.5
        ours.event(event("end" if over else "update", each[1], ulid=each[0]))
        if over:
            alive.remove(each)
    time.sleep(0.003)
"""


def ends_after_kills(broker: Broker, folder: Path, times: int) -> dict[str, int]:
    """How often each event that began was ended, after so many kills and one last start."""
    with Subscriber(broker.port) as seen:
        for seed in range(times):
            daemon = subprocess.Popen([sys.executable, "-c", KILLED, str(broker.port), str(folder), str(seed)])
            before = len(seen.payloads(EVENTS))
            wait_for(lambda before=before: len(seen.payloads(EVENTS)) > before + 20, timeout_s=30)  # type: ignore[misc]
            time.sleep(random.Random(seed).uniform(0, 0.2))
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
        carried: list[Carried] = []
        last = opened(broker.port, folder, session="last", on_carried=carried.append)
        wait_for(lambda: carried and last.counters().connected and not last.counters().waiting)
        last.close()
        once = {each["delivery"]: each for each in messages(seen)}  # the broker may get a message twice, by its number
    told = list(once.values())
    starts = {each["event"] for each in told if each["type"] == "start"}
    assert {each["event"] for each in told} == starts
    ended = Counter(each["event"] for each in told if each["type"] == "end")
    return {each: ended[each] for each in starts}


def test_every_start_has_one_end_through_kills(broker: Broker, tmp_path: Path) -> None:
    ends = ends_after_kills(broker, tmp_path / "outbox", 3)
    assert len(ends) > 10
    assert set(ends.values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_start_has_one_end_through_a_hundred_kills(broker: Broker, tmp_path: Path) -> None:
    ends = ends_after_kills(broker, tmp_path / "outbox", 100)
    assert set(ends.values()) == {1}


def test_ulids_sort_by_time_and_are_of_the_published_form() -> None:
    # The specification's own example: 1469918176385 ms is 01ARYZ6S41.
    then = datetime.fromtimestamp(1469918176.385, timezone.utc)
    made = [new_ulid(then) for _ in range(50)]
    assert {each[:10] for each in made} == {"01ARYZ6S41"}
    assert len(set(made)) == 50
    assert {len(each) for each in made} == {26}
