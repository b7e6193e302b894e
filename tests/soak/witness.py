"""An independent client with a session of its own at the broker: counts what arrives, keeps no message."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion


class Witness:
    """Subscribes with QoS 1 and a lasting session, so that a restart of the broker loses nothing on this side.

    Attributes:
        received: detections and events as they came.
        deliveries: how often each delivery number came.
        sequences: (session, camera, sequence) of every frame heard of.
        disordered: first arrivals with a lower number than one before.
        stats: the latest of each session.
        starts, ends: how often each event began and ended, by messages that came for the first time.
    """

    def __init__(self, port: int) -> None:
        self.received = 0
        self.deliveries: Counter[int] = Counter()
        self.sequences: set[tuple[str, str, int]] = set()
        self.disordered = 0
        self.stats: dict[str, dict[str, Any]] = {}
        self.starts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self._highest = 0
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="witness", clean_session=False)
        self._client.on_connect = lambda client, *_: client.subscribe("edged/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._note
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port, keepalive=60)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _note(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/detections"):
            found = json.loads(message.payload)
            self._note_delivery(found)
            self.sequences.add((found["session"], found["camera"], found["sequence"]))
        elif message.topic.endswith("/events"):
            event = json.loads(message.payload)
            if self._note_delivery(event) and event["type"] != "update":
                (self.starts if event["type"] == "start" else self.ends)[event["event"]] += 1
        elif message.topic.endswith("/stats"):
            stats = json.loads(message.payload)
            self.stats[stats["session"]] = stats

    def _note_delivery(self, found: dict[str, Any]) -> bool:
        """Whether the message came for the first time."""
        self.received += 1
        delivery = int(found["delivery"])
        if delivery not in self.deliveries:
            self.disordered += delivery < self._highest
            self._highest = max(self._highest, delivery)
        self.deliveries[delivery] += 1
        return self.deliveries[delivery] == 1

    @property
    def lost(self) -> int:
        """Delivery numbers that never came."""
        return self._highest - len(self.deliveries)

    @property
    def uneven(self) -> int:
        """Events that do not have exactly one start and one end."""
        return sum((self.starts[each], self.ends[each]) != (1, 1) for each in {*self.starts, *self.ends})

    @property
    def duplicates(self) -> int:
        """Deliveries beyond the first of each number."""
        return self.received - len(self.deliveries)

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()
