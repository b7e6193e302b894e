"""Many results published, and which of them arrived."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from edged.publish.connection import Connection
from edged.publish.mqtt import MqttPublisher
from tests.brokers import Subscriber, wait_for
from tests.holdups import HoldUps
from tests.publish.results import DETECTIONS, options, result

BLOCKED_S = 1.0  # a call that waits for a dead network or disk takes longer


def deliveries(seen: Subscriber) -> list[int]:
    return [json.loads(payload)["delivery"] for payload in seen.payloads(DETECTIONS)]


def all_deliveries(seen: Subscriber) -> list[int]:
    """Numbers of everything durable, of every camera: detections and events are counted together."""
    kept = [each for each in list(seen.messages) if each.topic.endswith(("/detections", "/events"))]
    return [json.loads(each.payload)["delivery"] for each in kept]


def first_sights(numbers: list[int]) -> list[int]:
    """`numbers` without repeats, by their first appearance."""
    return list(dict.fromkeys(numbers))


def connected(ours: MqttPublisher) -> None:
    wait_for(lambda: ours.counters().connected, what="connected")


def publish_all(ours: MqttPublisher, count: int, *, first: int = 0) -> float:
    """Publish and return the longest single call, seconds, less what the machine held everything up."""
    longest_s = 0.0
    with HoldUps() as held:
        for sequence in range(first, first + count):
            began = time.monotonic()
            ours.publish(result(sequence))
            longest_s = max(longest_s, time.monotonic() - began)
    return longest_s - held.longest_s


def retain(port: int, messages: Mapping[str, bytes]) -> None:
    """Retain messages as a client of no device."""
    connection = Connection(options(port), client_id="anybody", will=None, context=None)
    connection.open()
    for topic, payload in messages.items():
        connection.send(topic, payload, qos=1, retain=True)
    while len(connection.acknowledged) < len(messages):
        connection.step(0.1)
    connection.close()
