"""A publisher that announces cameras to Home Assistant, and what it announced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edged.core.watched import Watched
from edged.publish.home_assistant.messages import camera_topic
from edged.publish.mqtt import MqttPublisher
from edged.publish.topics import Topics
from tests.brokers import Subscriber
from tests.publish.deliveries import connected
from tests.publish.results import ORIGIN, options

TOPICS = Topics("box")
GATE = Watched("gate", labels=("person",), zones={"drive": ("person", "traffic light")}, lines={"exit": ("person",)})


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
