"""Many devices in one process: each with the real publisher, its own connection and session."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

import numpy as np

from edged.core.types import Detections, FrameMeta, FrameResult
from edged.publish.identity import origin
from edged.publish.mqtt import MqttPublisher
from edged.publish.options import MqttOptions

CAMERA = "gate"
CONNECT_S = 60.0
TIMINGS = {
    "waiting": 0.4,
    "preprocess": 0.3,
    "inference": 31.0,
    "decode": 0.1,
    "nms": 0.1,
    "detect": 32.0,
    "total": 32.4,
}


@dataclass(frozen=True)
class Fleet:
    """Some of the devices.

    Attributes:
        port: of the broker.
        first: number of the first device.
        devices: how many.
        rate: messages a second and device.
        objects: detections in a message.
        qos: 0 or 1.
    """

    port: int
    first: int
    devices: int
    rate: float
    objects: int
    qos: int


def drive(fleet: Fleet, ready: Queue[int], start: Event, stop: Event, told: Queue[tuple[int, int]]) -> None:
    """Publish evenly from all devices between `start` and `stop`; tells (published, dropped)."""
    publishers = [_publisher(fleet, fleet.first + number) for number in range(fleet.devices)]
    until_s = time.monotonic() + CONNECT_S
    while not all(each.counters().connected for each in publishers) and time.monotonic() < until_s:
        time.sleep(0.05)
    time.sleep(1.0)  # retained states are out
    before = sum(each.counters().published for each in publishers)
    ready.put(sum(each.counters().connected for each in publishers))
    start.wait()
    sequence, due_s = 0, time.monotonic()
    detections = _detections(fleet.objects)
    while not stop.is_set():
        publishers[sequence % fleet.devices].publish(_result(sequence // fleet.devices, detections))
        sequence += 1
        due_s += 1 / (fleet.rate * fleet.devices)
        if (early_s := due_s - time.monotonic()) > 0:
            time.sleep(early_s)
    time.sleep(1.0)
    counters = [each.counters() for each in publishers]
    told.put((sum(c.published for c in counters) - before, sum(sum(c.dropped.values()) for c in counters)))
    for each in publishers:
        each.close()


def _publisher(fleet: Fleet, number: int) -> MqttPublisher:
    speaker = origin(device=f"scale-{number:05d}", model="street", classes=("person",))
    return MqttPublisher(MqttOptions(host="127.0.0.1", port=fleet.port), speaker, qos=1 if fleet.qos else 0)


def _detections(objects: int) -> Detections:
    rng = np.random.default_rng(0)
    corner = rng.random((objects, 2), np.float32) * 400
    score = np.sort(rng.random(objects, np.float32))[::-1].copy()
    return Detections(np.hstack((corner, corner + 80)), score, np.zeros(objects, np.int32))


def _result(sequence: int, detections: Detections) -> FrameResult:
    now = datetime.now(timezone.utc)
    return FrameResult(FrameMeta(CAMERA, sequence, now, time.monotonic_ns(), (1280, 720)), detections, TIMINGS)
