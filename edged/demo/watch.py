"""The demo's subscriber: an ordinary MQTT client that prints a line a message and counts them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion


@dataclass(slots=True)
class Tally:
    """Counts of what arrived. Changed by the MQTT thread, read after it has ended."""

    messages: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    objects: Counter[str] = field(default_factory=Counter)
    total_ms: list[float] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    last_sequence: dict[str, int] = field(default_factory=dict)
    gaps: int = 0
    numbers: dict[str, int] = field(default_factory=dict)  # of events, in order of their start
    there: Counter[str] = field(default_factory=Counter)  # how many of each label are there now
    came: Counter[str] = field(default_factory=Counter)

    def note(self, message: dict[str, Any]) -> str:
        """Count one events message; returns a line for people, empty where there is nothing to say."""
        label, event = message["label"], message["event"]
        if message["type"] == "start":
            self.numbers[event] = len(self.numbers) + 1
            self.came[label] += 1
        if event not in self.numbers or message["type"] == "update":
            return ""
        self.there[label] += 1 if message["type"] == "start" else -1
        what = "came" if message["type"] == "start" else f"was there for {message['duration_s']:.1f} s"
        now = ", ".join(f"{number} {each}" for each, number in self.there.items() if number) or "nobody"
        clock = message["published_at"][11:23]
        return f"{clock}  {message['camera']} {label} {self.numbers[event]} {what}; there now: {now}"

    def add(self, message: dict[str, Any]) -> None:
        """Count one detections message."""
        now = time.monotonic()
        self.first_s = self.first_s or now
        self.last_s = now
        self.messages += 1
        self.objects.update(found["label"] for found in message["detections"])
        self.total_ms.append(message["timings"]["total"])
        camera, sequence = message["camera"], message["sequence"]
        self.gaps += max(0, sequence - self.last_sequence.get(camera, sequence - 1) - 1)
        self.last_sequence[camera] = sequence

    def summary(self) -> list[str]:
        """Lines for people: frames, rate, boxes and objects by class, drops."""
        seconds = self.last_s - self.first_s
        rate = f"{(self.messages - 1) / seconds:.1f} a second" if seconds > 0 and self.messages > 1 else "rate unknown"
        seen = ", ".join(f"{number} {label}" for label, number in self.objects.most_common()) or "nothing"
        median = sorted(self.total_ms)[len(self.total_ms) // 2] if self.total_ms else 0.0
        return [
            f"frames    {self.messages}, {rate}, median {median:.0f} ms from grab to result",
            f"boxes     {seen}",
            f"objects   {', '.join(f'{number} {label}' for label, number in self.came.most_common()) or 'none'} came",
            f"drops     {self.gaps} captured frames gave way to newer ones",
        ]


class Watcher:
    """Subscribes to everything below one device and prints detections until enough have come.

    Args:
        port: of a broker on the loopback.
        base: the device's topics, e.g. `edged/demo`.
        enough: detections messages after which `done` is set; 0 for never.

    Attributes:
        done: set after `enough` messages.
        tally: what arrived.
    """

    def __init__(self, *, port: int, base: str, enough: int) -> None:
        self.done = threading.Event()
        self.tally = Tally()
        self._enough = enough
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{base}/#")
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        kind = message.topic.rpartition("/")[2]
        if kind == "detections" and not self.done.is_set():
            content = json.loads(message.payload)
            self.tally.add(content)
            self._say(line(content))
            if self._enough and self.tally.messages >= self._enough:
                self.done.set()
        elif kind == "events":
            if text := self.tally.note(json.loads(message.payload)):
                self._say(text)
        elif kind == "health":
            content = json.loads(message.payload)
            if content["state"] == "offline":
                self._say(f"camera {content['camera']} is offline: {content['reason']}")

    def _say(self, text: str) -> None:
        try:
            print(text, flush=True)
        except OSError:  # standard output is closed: end the demo, whose own output then reports it
            self.done.set()


def line(message: dict[str, Any]) -> str:
    """One detections message as a line of text."""
    by_label: dict[str, list[str]] = {}
    for found in message["detections"]:
        by_label.setdefault(found["label"], []).append(f"{found['confidence']:.2f}")
    seen = ", ".join(f"{len(scores)} {label} ({' '.join(scores)})" for label, scores in by_label.items()) or "-"
    clock = message["captured_at"][11:23]
    return f"{clock}  {message['camera']} #{message['sequence']:<6} {message['timings']['total']:6.1f} ms  {seen}"
