"""Any number of boxes, by what each publishes over MQTT."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import orjson
from paho.mqtt.client import Client, MQTTMessage

from edged.core.names import is_name
from edged.core.redact import redact
from edged.feed.wire import Message
from edged.publish.client import make_client
from edged.publish.options import MqttOptions
from edged.publish.tls import tls_context

MOST_BOXES, MOST_CAMERAS = 2000, 256
MOST_BYTES = 1 << 20
MOST_LETTERS = 300
MOST_NUMBER = 1e15
TELL_S = 1.0  # pages are told of changes so often at most
_LEVELS = 2  # of a topic below the prefix: a box, and what it says

logger = logging.getLogger(__name__)


class Fleet:
    """Listens to a broker, in paho's thread; what it knows is read and changed in the event loop's.

    Args:
        options: the broker.
        prefix: levels of every topic before the device.
        on_change: called in the loop, at most once in `TELL_S`, with all that is known.

    Raises:
        ConfigError: TLS files cannot be used.
    """

    def __init__(self, options: MqttOptions, *, prefix: str, on_change: Callable[[Message], None]) -> None:
        self._options, self._prefix, self._on_change = options, prefix, on_change
        self._boxes: dict[str, dict[str, Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = False
        self.connected = False
        context = None if options.tls is None else tls_context(options.tls)
        self._client = make_client(options, client_id=options.client_id, context=context, reconnects=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Connect, and keep trying; to be called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def now(self) -> Message:
        """Each box that was heard, by name."""
        boxes = [{"device": name, **known} for name, known in sorted(self._boxes.items())]
        return {"connected": self.connected, "broker": self._options.address, "boxes": boxes}

    def _on_connect(self, client: Client, _userdata: object, _flags: object, reason: Any, _properties: object) -> None:  # noqa: ANN401
        if reason.is_failure:
            logger.warning("the broker %s refuses: %s", self._options.address, redact(str(reason)))
            return
        for what in ("status", "info", "stats", "+/health"):
            client.subscribe(f"{self._prefix}/+/{what}")
        self._in_loop(self._set_connected, True)  # noqa: FBT003

    def _on_disconnect(self, *_: object) -> None:
        self._in_loop(self._set_connected, False)  # noqa: FBT003

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if len(message.payload) <= MOST_BYTES:
            self._in_loop(self._take, message.topic, bytes(message.payload), bool(message.retain))

    def _in_loop(self, act: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act, *arguments)

    def _set_connected(self, connected: bool) -> None:  # noqa: FBT001
        self.connected = connected
        self._changed()

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001
        device, *what = topic.removeprefix(f"{self._prefix}/").split("/")
        if not is_name(device) or (device not in self._boxes and len(self._boxes) >= MOST_BOXES):
            return
        box = self._boxes.setdefault(
            device, {"online": None, "info": None, "stats": None, "cameras": {}, "seen_at": None}
        )
        if what == ["status"]:
            box["online"] = payload == b"online" if payload else None
        elif (content := _object(payload)) is not None:
            _note(box, what, content)
        elif len(what) == _LEVELS and not payload:
            box["cameras"].pop(what[0], None)
        if not retained:  # that may have been said weeks ago
            box["seen_at"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        if box["online"] is None and box["info"] is None and not payload:
            del self._boxes[device]
        self._changed()

    def _changed(self) -> None:
        if not self._due and self._loop is not None:
            self._due = True
            self._loop.call_later(TELL_S, self._tell)

    def _tell(self) -> None:
        self._due = False
        self._on_change(self.now())


def _note(box: dict[str, Any], what: list[str], content: Message) -> None:
    if what == ["info"]:
        box["info"] = {key: _text(content.get(key)) for key in ("version", "model", "backend", "started_at")}
    elif what == ["stats"]:
        numbers = {key: _number(content.get(key)) for key in ("uptime_s", "fps", "memory_mb", "temperature_c")}
        box["stats"] = {**numbers, "dropped": _dropped(content.get("cameras"))}
    elif len(what) == _LEVELS and what[1] == "health" and _has_place(box["cameras"], what[0]):
        box["cameras"][what[0]] = {key: _text(content.get(key)) for key in ("state", "reason", "since")}


def _has_place(cameras: Mapping[str, object], name: str) -> bool:
    return name in cameras or (is_name(name) and len(cameras) < MOST_CAMERAS)


def _text(value: object) -> str:
    return value[:MOST_LETTERS] if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_one and abs(value) < MOST_NUMBER else None  # type: ignore[arg-type]


def _dropped(cameras: object) -> int:
    """Frames that gave way, of all cameras."""
    tables = (
        [each.get("dropped") for each in cameras.values() if isinstance(each, dict)]
        if isinstance(cameras, dict)
        else []
    )
    counts = [_number(count) for table in tables if isinstance(table, dict) for count in table.values()]
    return round(sum(count for count in counts if count is not None))


def _object(payload: bytes) -> Message | None:
    try:
        content = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None
