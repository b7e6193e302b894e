"""What Home Assistant is told, and what its templates make of it. `tests/home_assistant` asks a real one."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Template

from edged.core.events import Count
from edged.core.states import CameraState, CameraStateName
from edged.core.watched import Watched
from edged.publish.connection import MOST_INCOMING_BYTES
from edged.publish.event_payload import event_payload, objects_payload
from edged.publish.home_assistant.announcer import Announcer
from edged.publish.home_assistant.earlier import MIGRATE, earlier_topics
from edged.publish.home_assistant.messages import box_message, box_topic, camera_message, camera_topic
from edged.publish.mailbox import Outgoing
from edged.publish.mqtt import MqttPublisher
from edged.publish.payload import encode
from edged.publish.topics import Topics
from tests.brokers import Broker, Subscriber, free_port, wait_for, write_passwords
from tests.publish.deliveries import connected, retain
from tests.publish.results import ORIGIN, counts, event, options, outbox_options, result

TOPICS = Topics("box")
GATE = Watched("gate", labels=("person",), zones={"drive": ("person", "traffic light")}, lines={"exit": ("person",)})


def test_topics_have_the_form_that_home_assistant_reads() -> None:
    for topic in (box_topic(TOPICS), camera_topic(TOPICS, "front_door-2")):
        assert re.fullmatch(r"homeassistant/device/([a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config", topic)


def test_every_entity_has_an_id_of_its_own_over_cameras_and_devices() -> None:
    messages = [
        *(
            camera_message(Topics(box), Watched(camera, labels=("a", "a b", "a/b", "ä")))
            for box in ("x", "x_y")
            for camera in ("z", "y_z")
        ),
        box_message(Topics("x")),
        box_message(Topics("x_y")),
    ]
    ids = [entity["unique_id"] for message in messages for entity in message["components"].values()]
    # Those of earlier releases stay as they were, and two of them could meet.
    new = [each for each in ids if not re.search(r"_(connection|objects)$", each)]
    assert len(new) > 30
    assert len(set(new)) == len(new)
    assert len({message["device"]["identifiers"][0] for message in messages}) == len(messages)
    assert all(" " not in name for message in messages for name in message["components"])


def test_entities_of_before_keep_their_ids() -> None:
    entities = camera_message(TOPICS, GATE)["components"]
    assert entities["connection"]["unique_id"] == "edged_box_gate_connection"
    assert entities["objects"]["unique_id"] == "edged_box_gate_objects"


def rendered(entity: dict[str, Any], payload: dict[str, Any]) -> str:
    text: str = Template(entity["value_template"]).render(value_json=json.loads(json.dumps(payload)))
    return text


def test_counts_of_labels_zones_and_lines_are_read_from_objects() -> None:
    entities = camera_message(TOPICS, GATE)["components"]
    some = counts(2, zones={"drive": {"traffic light": Count(3, 1)}}, lines={"exit": {"person": {"in": 4, "out": 5}}})
    shown = {
        name: rendered(entity, objects_payload(some, ORIGIN))
        for name, entity in entities.items()
        if "value_template" in entity and name != "events"
    }
    assert shown == {
        "objects": "2",
        "occupancy/person": "ON",
        "count/person": "2",
        "active/person": "2",
        "zone/drive/occupancy/person": "OFF",
        "zone/drive/count/person": "0",
        "zone/drive/active/person": "0",
        "zone/drive/occupancy/traffic%20light": "ON",
        "zone/drive/count/traffic%20light": "3",
        "zone/drive/active/traffic%20light": "1",
        "line/exit/person/in": "4",
        "line/exit/person/out": "5",
    }
    lost = objects_payload(counts(2, available=False), ORIGIN)
    unknown = {
        name: rendered(entity, lost)
        for name, entity in entities.items()
        if "value_template" in entity and name != "events"
    }
    assert set(unknown.values()) == {"None"}, "a line that is not there is not 0: totals only grow"


@pytest.mark.parametrize("label", ['say "a"', "back\\slash", "{{ 1 }}", "a'b", "%}", "ä", "\n", "\N{CAT}"])
def test_any_class_name_can_be_counted(label: str) -> None:
    entities = camera_message(TOPICS, Watched("gate", labels=(label,)))["components"]
    payload = {"available": True, "labels": {label: {"all": 7, "active": 6}}}
    numbers = [rendered(entity, payload) for name, entity in entities.items() if name.startswith(("count", "active"))]
    assert numbers == ["7", "6"]


def test_an_event_becomes_what_an_event_entity_takes() -> None:
    entity = camera_message(TOPICS, GATE)["components"]["events"]
    payload = event_payload(event(), ORIGIN, published_at=result().meta.captured_at)
    taken = json.loads(rendered(entity, payload))
    assert taken["event_type"] in entity["event_types"]
    assert taken["event"] == payload["event"]
    assert taken["label"] == payload["label"]


def test_what_is_not_counted_or_pictured_is_not_announced() -> None:
    assert set(camera_message(TOPICS, Watched("gate", followed=False))["components"]) == {"connection"}
    without = camera_message(TOPICS, Watched("gate", labels=("person",), pictured=False))["components"]
    assert not [name for name in without if name.startswith("image")]


@contextmanager
def announcing(port: int, *cameras: Watched, prefix: str = "homeassistant", **more: object) -> Iterator[MqttPublisher]:
    ours = MqttPublisher(options(port, **more), ORIGIN, discovery_prefix=prefix, cameras=cameras)
    try:
        connected(ours)
        yield ours
    finally:
        ours.close()


def announced(seen: Subscriber, camera: str = "gate") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(seen.last(camera_topic(TOPICS, camera)) or b"{}")
    return content


def test_cameras_are_announced_where_asked_for_and_taken_away_where_not(broker: Broker) -> None:
    for prefix in ("homeassistant", ""):
        with announcing(broker.port, GATE, prefix=prefix), Subscriber(broker.port) as seen:
            wait_for(lambda: bool(announced(seen)) is bool(prefix), what=f"announced below {prefix!r}")  # noqa: B023
            wait_for(lambda: bool(seen.last(box_topic(TOPICS))) is bool(prefix))  # noqa: B023


def test_entities_that_are_no_more_are_taken_away_one_by_one(broker: Broker) -> None:
    with announcing(broker.port, GATE, Watched("yard")) as ours, Subscriber(broker.port) as seen:
        wait_for(lambda: "line/exit/person/in" in announced(seen).get("components", {}))
        ours.watch([Watched("gate", labels=("person",), zones=GATE.zones)])
        gone = {"platform": "sensor"}
        wait_for(lambda: announced(seen)["components"]["line/exit/person/in"] == gone, what="the line is gone")
        wait_for(lambda: not announced(seen, "yard"), what="the camera is gone")
    with announcing(broker.port, Watched("gate", labels=("person",))), Subscriber(broker.port) as seen:
        wait_for(
            lambda: (
                announced(seen).get("components", {}).get("zone/drive/occupancy/person")
                == {"platform": "binary_sensor"}
            ),
            what="the zone is gone that was configured in the run before",
        )
        assert len(announced(seen)["components"]["occupancy/person"]) > 1


@dataclass
class Said:
    """What an announcer says, in order; a broker that confirms, or does not."""

    confirms: bool = True
    messages: list[tuple[str, bytes]] = field(default_factory=list)

    def retain(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))

    def send(self, message: Outgoing) -> None:
        self.messages.append((message.topic, message.encode(1000)))
        if self.confirms:
            message.on_answered()

    def announcer(self, *cameras: Watched) -> Announcer:
        return Announcer(TOPICS, prefix="homeassistant", retain=self.retain, send=self.send, cameras=cameras)


def test_a_camera_that_comes_back_with_less_takes_the_rest_away() -> None:
    said = Said()
    announcer = said.announcer(GATE)
    announcer.begin({}, known=True)
    announcer.watch([])
    announcer.watch([Watched("gate", labels=("person",))])
    latest = json.loads(dict(said.messages)[camera_topic(TOPICS, "gate")])
    assert latest["components"]["line/exit/person/in"] == {"platform": "sensor"}


def test_nothing_is_announced_before_the_old_entities_are_known_to_be_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.publish.home_assistant.announcer.CONFIRM_S", 0.2)
    said = Said(confirms=False)
    announcer = said.announcer(GATE)
    assert announcer.begin(EARLIER, known=True) is None
    assert {payload for _, payload in said.messages} == {MIGRATE}
    said.confirms = True
    assert announcer.begin(EARLIER, known=True) is not None
    assert [payload for topic, payload in said.messages if topic in EARLIER][-2:] == [b"", b""]


def test_entities_that_are_not_announced_any_more_are_not_moved() -> None:
    said = Said()
    said.announcer(Watched("gate", followed=False)).begin(EARLIER, known=True)
    moved = [topic for topic, payload in said.messages if payload == MIGRATE]
    assert moved == [earlier_topics(TOPICS, "gate", prefix="homeassistant")["connection"]]


def test_the_largest_announcement_can_be_read_again() -> None:
    labels = tuple(f"a long name of a class {number}" for number in range(80))
    zones = {f"a-long-name-of-a-zone-{number}": labels for number in range(12)}
    message = camera_message(TOPICS, Watched("gate", labels=labels, zones=zones, lines={"line": labels}))
    assert len(encode(message)) < MOST_INCOMING_BYTES


EARLIER = {
    topic: {"name": "x", "origin": {"name": "edged"}, "state_topic": f"edged/box/gate/{leaf}"}
    for topic, leaf in zip(
        earlier_topics(TOPICS, "gate", prefix="homeassistant").values(), ("status", "objects"), strict=True
    )
}


def retain_earlier(port: int) -> None:
    """As a release before device discovery did."""
    retain(port, {topic: json.dumps(content).encode() for topic, content in EARLIER.items()})


def test_entities_of_an_earlier_release_are_moved_in_the_order_that_home_assistant_needs(broker: Broker) -> None:
    retain_earlier(broker.port)
    with Subscriber(broker.port) as seen:
        wait_for(lambda: all(seen.last(topic) for topic in EARLIER))
        before = len(seen.messages)
        with announcing(broker.port, GATE):
            wait_for(lambda: not any(seen.last(topic) for topic in EARLIER), what="the old announcements are gone")
        said = [each for each in seen.messages[before:] if each.topic in {*EARLIER, camera_topic(TOPICS, "gate")}]
    kinds = ["new" if each.topic not in EARLIER else "migrate" if each.payload else "removed" for each in said]
    assert kinds == ["migrate", "migrate", "new", "removed", "removed"]
    assert json.loads(said[0].payload) == {"migrate_discovery": True}


def test_where_nothing_of_an_earlier_release_is_found_nothing_is_moved(broker: Broker) -> None:
    with Subscriber(broker.port) as seen, announcing(broker.port, GATE):
        wait_for(lambda: announced(seen))
        time.sleep(0.3)
        assert not [each for each in seen.messages if each.topic in EARLIER]


def test_cameras_are_announced_where_the_broker_forbids_to_read(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("user reader\ntopic read #\nuser box\ntopic write #\n")
    write_passwords(tmp_path / "passwords", reader="r", box="b")
    lines = ("allow_anonymous false", f"acl_file {rules}", f"password_file {tmp_path / 'passwords'}")
    broker = Broker(tmp_path, free_port(), lines).start()
    try:
        with Subscriber(broker.port, username="reader", password="r") as seen:
            with announcing(broker.port, GATE, username="box", password="b"):
                wait_for(lambda: announced(seen), timeout_s=30, what="the announcement")
            assert {each.topic for each in seen.messages} >= set(EARLIER), "what cannot be seen may be there"
    finally:
        broker.kill()


@dataclass
class House:
    """What Home Assistant shows of the camera `gate`: `connection`, `objects`."""

    seen: Subscriber

    def shown(self, name: str) -> str:
        """`unavailable`, `unknown`, or the latest payload."""
        message = announced(self.seen)
        entity = message["components"][name]
        availability = entity.get("availability", message["availability"])
        assert entity.get("availability_mode", message["availability_mode"]) == "all" or len(availability) == 1
        online = [self.seen.last(each["topic"]) == b"online" for each in availability]
        said = [each.decode() for each in self.seen.payloads(entity.get("state_topic", message["state_topic"])) if each]
        value = said[-1] if said else "None"
        if said and "value_template" in entity:
            value = rendered(entity, json.loads(value))
        return "unavailable" if not all(online) else "unknown" if value == "None" else value

    def shows(self, *expected: str) -> None:
        wait_for(lambda: announced(self.seen), what="the announcement")
        wait_for(
            lambda: (self.shown("connection"), self.shown("objects")) == expected,
            what=f"{expected} instead of {self.shown('connection'), self.shown('objects')}",
        )


def told(ours: MqttPublisher, state: CameraStateName) -> None:
    ours.camera_state(CameraState("gate", state=state, reason="", since=result().meta.captured_at, reconnects=0))


MODES: Sequence[str] = ("all", "nonempty", "qos 1", "durable")


@pytest.mark.parametrize("mode", MODES)
def test_home_assistant_shows_what_is_seen_now_in_every_mode(broker: Broker, tmp_path: Path, mode: str) -> None:
    ours = MqttPublisher(
        options(broker.port),
        ORIGIN,
        qos=1 if mode == "qos 1" else 0,
        empty_frames=mode != "nonempty",
        outbox=outbox_options(tmp_path / "outbox") if mode == "durable" else None,
        discovery_prefix="homeassistant",
        cameras=[GATE],
    )
    with Subscriber(broker.port) as seen:
        house = House(seen)
        told(ours, "opening")
        house.shows("offline", "unavailable")
        told(ours, "online")
        house.shows("online", "unknown")
        for objects in (2, 3, 0):
            ours.objects(counts(objects))
            house.shows("online", str(objects))
        ours.objects(counts(5))
        with Subscriber(broker.port) as restarted:
            House(restarted).shows("online", "5")
        told(ours, "offline")
        house.shows("offline", "unavailable")
        told(ours, "online")
        house.shows("online", "unknown")
        ours.objects(counts(1))
        house.shows("online", "1")
        ours.close()
        house.shows("unavailable", "unavailable")
        with Subscriber(broker.port) as restarted:
            wait_for(lambda: not _objects(restarted)["available"], what="no old count is retained as if it were true")


def _objects(seen: Subscriber) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(seen.last(TOPICS.camera_objects("gate")) or b'{"available": true}')
    return content


def test_counts_that_come_before_the_state_of_their_camera_are_shown_with_it(broker: Broker) -> None:
    ours = MqttPublisher(options(broker.port), ORIGIN)
    with Subscriber(broker.port) as seen:
        ours.objects(counts(2))
        wait_for(lambda: seen.last(TOPICS.camera_objects("gate")), what="the counts")
        assert not _objects(seen)["available"]
        told(ours, "online")
        wait_for(lambda: _objects(seen)["available"], what="the counts are true now")
        assert _objects(seen)["labels"] == {"person": {"all": 2, "active": 2}}
        ours.close()
