from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Template

from edged.core.states import CameraState, CameraStateName
from edged.publish.home_assistant import discovery
from edged.publish.mqtt import MqttPublisher
from edged.publish.topics import Topics
from tests.brokers import Broker, Subscriber, wait_for
from tests.publish.results import ORIGIN, counts, options, outbox_options, result

TOPICS = Topics("box")


def test_discovery_topics_have_the_form_that_home_assistant_reads() -> None:
    found = discovery(TOPICS, "front_door-2")
    assert len(found) == 2
    for topic in found:
        assert re.fullmatch(r"homeassistant/(binary_sensor|sensor)/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", topic)


def shown(config: dict[str, Any], seen: Subscriber) -> str:
    """What Home Assistant shows of an entity: `unavailable`, or the latest payload.

    Of a number it ignores an empty payload, and `None` makes it unknown (its components/mqtt/sensor.py).
    """
    online = [seen.last(each["topic"]) == b"online" for each in config["availability"]]
    if config.get("availability_mode", "latest") == "latest":
        assert len(online) == 1, "the latest of several is what HA takes unless told otherwise"
    said = [each.decode() for each in seen.payloads(config["state_topic"]) if each]
    value = _rendered(config, said[-1]) if said else "None"
    return "unavailable" if not all(online) else "unknown" if value == "None" else value


def _rendered(config: dict[str, Any], payload: str) -> str:
    """What the entity's template makes of a payload; Home Assistant's templates are Jinja's."""
    if "value_template" not in config:
        return payload
    rendered: str = Template(config["value_template"]).render(value_json=json.loads(payload))
    return rendered


@dataclass
class House:
    """What Home Assistant shows of the camera `gate`."""

    seen: Subscriber

    def __call__(self) -> tuple[str, str]:
        configs = [json.loads(self.seen.last(topic) or b"null") for topic in discovery(TOPICS, "gate")]
        return "" if None in configs else tuple(shown(config, self.seen) for config in configs)  # type: ignore[return-value]

    def shows(self, connection: str, objects: str) -> None:
        wait_for(lambda: self() == (connection, objects), what=f"{connection}, {objects} instead of {self()}")


def told(ours: MqttPublisher, state: CameraStateName) -> None:
    ours.camera_state(CameraState("gate", state=state, reason="", since=result().meta.captured_at, reconnects=0))


@pytest.mark.parametrize("mode", ["all", "nonempty", "qos 1", "durable"])
def test_home_assistant_shows_what_is_seen_now_in_every_mode(broker: Broker, tmp_path: Path, mode: str) -> None:
    ours = MqttPublisher(
        options(broker.port),
        ORIGIN,
        qos=1 if mode == "qos 1" else 0,
        empty_frames=mode != "nonempty",
        outbox=outbox_options(tmp_path / "outbox") if mode == "durable" else None,
        discovery_prefix="homeassistant",
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


def test_discovery_ids_are_unique_over_cameras_and_the_device_is_one() -> None:
    configs = [config for camera in ("gate", "yard") for config in discovery(TOPICS, camera).values()]
    assert len({config["unique_id"] for config in configs}) == 4
    assert len({json.dumps(config["device"]) for config in configs}) == 1


def test_discovery_is_retained_where_asked_for_and_off_by_default(broker: Broker) -> None:
    for prefix in ("", "ha"):
        ours = MqttPublisher(options(broker.port), ORIGIN, discovery_prefix=prefix)
        since = result().meta.captured_at
        ours.camera_state(CameraState("gate", state="online", reason="", since=since, reconnects=0))
        wait_for(lambda o=ours: o.counters().acknowledged >= 3)  # type: ignore[misc]
        ours.close()
        with Subscriber(broker.port) as late:
            wait_for(lambda seen=late: len(seen.messages) >= 3)  # type: ignore[misc]
            announced = [each for each in late.messages if each.topic.endswith("/config")]
        assert len(announced) == (2 if prefix else 0)
        assert all(json.loads(each.payload)["origin"] for each in announced)
