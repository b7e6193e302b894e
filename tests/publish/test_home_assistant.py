from __future__ import annotations

import json
import re

from edged.publish.home_assistant import discovery
from edged.publish.mqtt import MqttPublisher
from edged.publish.topics import Topics
from tests.brokers import Broker, Subscriber, wait_for
from tests.publish.results import ORIGIN, options, result

TOPICS = Topics("box")


def test_discovery_topics_have_the_form_that_home_assistant_reads() -> None:
    found = discovery(TOPICS, "front_door-2")
    assert len(found) == 2
    for topic in found:
        assert re.fullmatch(r"homeassistant/(binary_sensor|sensor)/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", topic)


def test_discovery_points_at_the_topics_that_are_published() -> None:
    connectivity, objects = discovery(TOPICS, "gate").values()
    assert connectivity["state_topic"] == TOPICS.camera_status("gate")
    assert (connectivity["payload_on"], connectivity["payload_off"]) == ("online", "offline")
    assert objects["state_topic"] == TOPICS.detections("gate")
    for config in (connectivity, objects):
        assert config["availability"] == [{"topic": TOPICS.status}]


def test_discovery_ids_are_unique_over_cameras_and_the_device_is_one() -> None:
    configs = [config for camera in ("gate", "yard") for config in discovery(TOPICS, camera).values()]
    assert len({config["unique_id"] for config in configs}) == 4
    assert len({json.dumps(config["device"]) for config in configs}) == 1


def test_discovery_is_retained_where_asked_for_and_off_by_default(broker: Broker) -> None:
    for prefix in ("", "ha"):
        ours = MqttPublisher(options(broker.port), ORIGIN, discovery_prefix=prefix)
        since = result().meta.captured_at
        ours.camera_state("gate", state="online", reason="", since=since, reconnects=0)
        wait_for(lambda o=ours: o.counters().acknowledged >= 3)  # type: ignore[misc]
        ours.close()
        with Subscriber(broker.port) as late:
            wait_for(lambda seen=late: len(seen.messages) >= 3)  # type: ignore[misc]
            announced = [each for each in late.messages if each.topic.endswith("/config")]
        assert len(announced) == (2 if prefix else 0)
        assert all(json.loads(each.payload)["origin"] for each in announced)
