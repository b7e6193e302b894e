"""The bench's subscriber: an ordinary client that stamps each message of one device and parses it later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edged.core.errors import BrokerError

SUBSCRIBE_S = 10.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One detections message.

    Attributes:
        at: when it arrived here, UNIX seconds.
        message: its content.
    """

    at: float
    message: dict[str, Any]

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the grab to the arrival here, broker included."""
        return (self.at - datetime.fromisoformat(self.message["captured_at"].replace("Z", "+00:00")).timestamp()) * 1e3


class Listener:
    """Receives the messages of one device; a context manager.

    Args:
        port: of a broker on the loopback.
        device: its id.

    Raises:
        BrokerError: on entry, the broker does not confirm the subscription.
    """

    def __init__(self, port: int, device: str) -> None:
        self._raw: list[tuple[float, bytes]] = []
        self._stats = b""
        self._marks: dict[int, tuple[Callable[[], None], threading.Event]] = {}
        self._changed = threading.Lock()
        self._subscribed = threading.Event()
        self._device = device
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(f"edged/{device}/#")
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", port)

    def __enter__(self) -> Listener:
        self._client.loop_start()
        if not self._subscribed.wait(SUBSCRIBE_S):
            raise BrokerError("the bench's broker does not confirm a subscription")
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def count(self) -> int:
        """Number of detections messages so far."""
        return len(self._raw)

    def at_count(self, count: int, action: Callable[[], None]) -> threading.Event:
        """Call `action` when message number `count` arrives (at once if it has), then set the event returned."""
        done = threading.Event()
        with self._changed:
            if self.count < count:
                self._marks[count] = (action, done)
                return done
        action()
        done.set()
        return done

    def heard(self, first: int, last: int) -> list[Heard]:
        """Messages from number `first` (from 0) up to, but without, `last`."""
        return [Heard(at, orjson.loads(payload)) for at, payload in self._raw[first:last]]

    def stats(self) -> dict[str, Any]:
        """The daemon's latest statistics; empty where none came."""
        found: dict[str, Any] = orjson.loads(self._stats) if self._stats else {}
        return found

    def _note(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        now = time.time()
        kind = message.topic.rpartition("/")[2]
        if kind == "stats":
            self._stats = bytes(message.payload)
        elif kind == "detections":
            with self._changed:
                self._raw.append((now, bytes(message.payload)))
                action, done = self._marks.pop(self.count, (None, None))
            if action is not None and done is not None:
                action()
                done.set()
