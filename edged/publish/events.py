"""Messages of events: each is sent at least once, and every start has an end, also of a run that was killed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any

import orjson

from edged.core.events import Carried, Event, LineKey, OpenEvent
from edged.publish.event_payload import ended_payload, event_payload
from edged.publish.identity import Origin
from edged.publish.mailbox import Outgoing, TooLargeError
from edged.publish.outbox import Outbox
from edged.publish.outbox_journal import Journal, Mark
from edged.publish.payload import Payload, encode
from edged.publish.topics import Topics

MAX_EVENT_BYTES = 4096
_LISTS = ("lines", "zones")  # shortened, oldest first, where a message would be too large
_EVENT, _LINE = "event", "line"  # first parts of keys in the journal

logger = logging.getLogger(__name__)


class EventMessages:
    """Sends the messages of events, through the outbox where there is one.

    Args:
        topics: of the device.
        send: takes a message that does not go through an outbox.
        outbox: keeps messages until the broker has confirmed them, and which events are open; None for none.
        on_carried: called once, from the outbox's thread, with what earlier runs left behind.
    """

    def __init__(
        self,
        topics: Topics,
        *,
        send: Callable[[Outgoing], None],
        outbox: Outbox | None,
        on_carried: Callable[[Carried], None],
    ) -> None:
        self._topics = topics
        self._send, self._outbox, self._on_carried = send, outbox, on_carried
        self._carried = False

    def say(self, event: Event, origin: Origin) -> None:
        """Send a message."""
        payload = event_payload(event, origin, published_at=datetime.now(timezone.utc))
        crossings = Counter(
            _line_key(LineKey(event.camera, crossing.name, event.label, crossing.direction))
            for crossing in event.crossed
        )
        self._put(payload, Mark(f"{_EVENT}/{event.event}", event.type == "end", dict(crossings)))

    def carry(self, journal: Journal, origin: Origin) -> None:
        """End the events that earlier runs left open, and hand on what they counted. Later calls do nothing."""
        if self._carried:
            return
        self._carried = True
        left = list(_left_open(journal.open, origin.session))
        for key, payload in left:
            before = {name: value for name, value in payload.items() if name != "delivery"}
            ended = ended_payload(before, because="restart", at=datetime.now(timezone.utc))
            self._put(ended, Mark(key, closes=True))
        if left:
            logger.info("%d events were open when edged last ended: each is told to be over", len(left))
        self._on_carried(
            Carried(
                events=tuple(_open_event(payload) for _, payload in left),
                crossings={line: number for text, number in journal.counters.items() if (line := _parsed(text))},
                since=datetime.fromtimestamp(journal.since_s, timezone.utc),
            )
        )

    def _put(self, payload: Payload, mark: Mark) -> None:
        topic = self._topics.events(payload["camera"])
        if self._outbox is not None:
            self._outbox.put(topic, partial(_encode_durable, payload), mark)
        else:
            self._send(Outgoing(topic, 1, partial(_fitted, payload)))


def _encode_durable(payload: Payload, delivery: int) -> bytes:
    return _fitted({**payload, "delivery": delivery}, MAX_EVENT_BYTES)


def _fitted(payload: Payload, most_bytes: int) -> bytes:
    """Encode `payload` in `most_bytes` at most, and `MAX_EVENT_BYTES`: if need be without its oldest crossings."""
    most = min(most_bytes, MAX_EVENT_BYTES)
    encoded = encode(payload)
    for name in _LISTS:
        while len(encoded) > most and payload[name]:
            payload = {**payload, name: payload[name][1:]}
            encoded = encode(payload)
    if len(encoded) > most:
        raise TooLargeError(f"{len(encoded)} bytes, at most {most} are allowed")
    return encoded


def _left_open(matters: Mapping[str, bytes], session: str) -> Iterator[tuple[str, Payload]]:
    """Keys and latest messages of events that another run of the daemon left open."""
    for key, encoded in matters.items():
        if not key.startswith(f"{_EVENT}/"):
            continue
        try:
            payload: Any = orjson.loads(encoded)
            _open_event(payload)
        except (ValueError, KeyError, TypeError):
            logger.error("the outbox holds an open event that cannot be read, %s: it gets no end", key)  # noqa: TRY400
            continue
        if payload["session"] != session:
            yield key, payload


def _open_event(payload: Payload) -> OpenEvent:
    width, height = payload["frame"]["size"]
    x1, y1, x2, y2 = payload["frame"]["box"]
    return OpenEvent(
        event=payload["event"],
        camera=payload["camera"],
        label=payload["label"],
        box=(x1 / width, y1 / height, x2 / width, y2 / height),
        stationary=payload["stationary_since"] is not None,
    )


def _line_key(key: LineKey) -> str:
    return f"{_LINE}/{key.camera}/{key.line}/{key.direction}/{key.label}"


def _parsed(text: str) -> LineKey | None:
    kind, *parts = text.split("/", 4)
    if kind != _LINE or len(parts) != 4 or parts[2] not in {"in", "out"}:  # noqa: PLR2004
        return None
    camera, line, direction, label = parts
    return LineKey(camera, line, label, "in" if direction == "in" else "out")
