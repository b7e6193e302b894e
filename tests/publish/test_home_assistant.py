"""What Home Assistant is told, and what its templates make of it. `tests/home_assistant` asks a real one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Template

from edged.core.events import Count
from edged.core.states import CameraState, CameraStateName
from edged.core.watched import Watched
from edged.publish.event_payload import event_payload, objects_payload
from edged.publish.home_assistant.messages import box_message, box_topic, camera_message, camera_topic
from edged.publish.mqtt import MqttPublisher
from edged.publish.topics import Topics
from tests.brokers import Broker, Subscriber, wait_for
from tests.publish.announcements import GATE, TOPICS, announced
from tests.publish.results import ORIGIN, counts, event, options, outbox_options, result


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


def test_camera_is_called_by_its_title() -> None:
    assert camera_message(TOPICS, Watched("gate", title="Hof, Tor"))["device"]["name"] == "Hof, Tor"
    assert camera_message(TOPICS, Watched("gate"))["device"]["name"] == "gate"


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
