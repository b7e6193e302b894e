"""The publisher: takes results and states and sends MQTT messages, without waiting for the broker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Literal

from edged.core.events import Carried, Event, ObjectCounts, Snapshot
from edged.core.pulse import Pulse
from edged.core.states import CameraState, DeviceInfo, Statistics
from edged.core.types import FrameResult
from edged.core.watched import Watched
from edged.publish.cameras import OFFLINE, ONLINE, CameraStates
from edged.publish.client import Will
from edged.publish.counters import MessageTally, PublishCounters
from edged.publish.events import EventMessages
from edged.publish.home_assistant.announcer import Announcer
from edged.publish.home_assistant.messages import DISCOVERY_PREFIX
from edged.publish.identity import Origin
from edged.publish.leftovers import Leftovers, Search
from edged.publish.mailbox import Mailbox, Outgoing, RetainedState, TooLargeError, ready_made
from edged.publish.network import Network
from edged.publish.options import MqttOptions, OutboxOptions
from edged.publish.outbox import Outbox
from edged.publish.payload import (
    Payload,
    encode,
    frame_payload,
    info_payload,
    stats_payload,
    status_payload,
)
from edged.publish.sender import Sender
from edged.publish.template import router
from edged.publish.tls import tls_context
from edged.publish.topics import Topics

CLOSE_TIMEOUT_S = 1.8
LAST_S, FEW_LAST = 0.5, 256  # longest wait for so many durable messages at the end; the next start sends what is left
MOST_SHOWN = 20  # topics in one line of the log

logger = logging.getLogger(__name__)


class MqttPublisher:
    """Publishes to one broker; implements `edged.core.protocols.Sink`.

    No method waits for the network or the disk, and none raises because of them: what cannot be sent is
    dropped and counted, or waits in the outbox. All methods may be called from any thread.

    Args:
        options: the broker.
        origin: device, model and session that messages name.
        prefix: levels of every topic before the device.
        topic: a template for every topic instead (`edged/publish/template.py`): all that is sent is JSON then, without
            pictures and without the states that are a word. Empty: edged's own topics.
        qos: of detections, 0 or 1; of those that the outbox keeps always 1.
        empty_frames: also publish frames without detections.
        outbox: keep messages on disk until the broker has confirmed them; None: do not.
        on_carried: called from another thread with what earlier runs left in the outbox; an event that was left open is
            ended by this object.
        discovery_prefix: announce `cameras` to Home Assistant under this prefix (`homeassistant`); empty: do not.
        cameras: the present cameras; retained topics of others, from earlier runs, are removed. None: any camera, and
            nothing is announced.

    Raises:
        ConfigError: TLS files or the outbox's directory cannot be used.
        EdgedError: another process holds the outbox.
        ValueError: a device id, prefix, template or camera name that cannot be part of a topic.
    """

    def __init__(  # noqa: PLR0913 - each says something of its own
        self,
        options: MqttOptions,
        origin: Origin,
        *,
        prefix: str = "edged",
        topic: str = "",
        qos: Literal[0, 1] = 0,
        empty_frames: bool = True,
        outbox: OutboxOptions | None = None,
        on_carried: Callable[[Carried], None] = lambda _: None,
        discovery_prefix: str = "",
        cameras: Sequence[Watched] | None = None,
    ) -> None:
        self._options = options
        self._origin = origin
        self._qos = qos
        self._empty_frames = empty_frames
        self._closed = False
        self.topics = Topics(origin.device, prefix)
        self._json_only = bool(topic)
        self._cameras = CameraStates(
            self.topics,
            names=None if cameras is None else [each.camera for each in cameras],
            retain=self._retain,
            origin=lambda: self._origin,
            json_only=self._json_only,
        )
        context = None if options.tls is None else tls_context(options.tls)
        self._tally = MessageTally()
        self._mailbox = Mailbox(capacity=options.queue_messages, tally=self._tally)
        self._outbox = None if outbox is None else Outbox(outbox, tally=self._tally)
        name = client_id(options, origin.device)
        self._left = Leftovers(self.topics, discovery_prefix=discovery_prefix or DISCOVERY_PREFIX)
        self._search = Search(
            options, client_id=f"{name}-leftovers", context=context, found=self._left, on_end=self._tidy
        )
        self._network = Network(
            options,
            client_id=name,
            will=Will(self.topics.status, self._status(OFFLINE)),
            context=context,
            mailbox=self._mailbox,
            sender=Sender(
                options,
                mailbox=self._mailbox,
                outbox=self._outbox,
                tally=self._tally,
                route=router(self.topics, topic),
            ),
            tally=self._tally,
            on_connected=self._search.begin if cameras is not None and options.retain and not topic else (lambda: None),
        )
        self._announcer = Announcer(
            self.topics,
            prefix=discovery_prefix,
            retain=self._retain,
            send=self._network.send,
            cameras=cameras or (),
        )
        self._durable_detections = outbox is not None and outbox.detections
        self._events = EventMessages(self.topics, send=self._network.send, outbox=self._outbox, on_carried=on_carried)
        self._retain(self.topics.status, self._status(ONLINE))
        if self._outbox is not None:
            self._outbox.start(
                on_ready=self._network.wake, on_open=lambda journal: self._events.carry(journal, self._origin)
            )
        self._network.start()

    def publish(self, result: FrameResult) -> None:
        """Accept one result; dropped and counted where it cannot be sent or stored."""
        if not (self._empty_frames or len(result.detections)):
            self._tally.add("skipped")
            return
        topic = self.topics.detections(result.meta.camera)
        origin = self._origin
        if self._outbox is not None and self._durable_detections:
            self._outbox.put(topic, partial(self._encode_durable, result, origin))
        else:
            self._network.send(Outgoing(topic, self._qos, partial(self._encode, result, origin)))

    def event(self, event: Event) -> None:
        """Accept a message of an event; it waits in the outbox where there is one."""
        self._events.say(event, self._origin)

    def objects(self, counts: ObjectCounts) -> None:
        """Publish how many objects a camera shows, retained."""
        self._cameras.objects(counts)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Publish a picture, retained: the latest of its camera and label."""
        self._cameras.snapshot(snapshot)

    def set_model(self, model: str, classes: Sequence[str]) -> None:
        """Results published from now on name this bundle and these classes."""
        self._origin = replace(self._origin, model=model, classes=tuple(classes))

    def camera_state(self, state: CameraState) -> None:
        """Publish the state of a camera, retained: `<camera>/status` and `<camera>/health`.

        Raises:
            ValueError: a name that no camera may have.
        """
        self._cameras.tell(state)

    def watch(self, cameras: Iterable[Watched]) -> None:
        """These are the cameras from now on: remove the retained topics of others from the broker.

        Raises:
            ValueError: a name that no camera may have.
        """
        watched = tuple(cameras)
        self._announcer.watch(watched)  # first: what is taken away must not be read as a value that is missing
        self._cameras.keep(each.camera for each in watched)

    def _tidy(self) -> bool:
        announced = self._announcer.begin(self._left.announced, known=self._left.complete)
        if gone := sorted((announced or set()) | self._cameras.tidy(self._left.found())):
            shown = ", ".join(gone[:MOST_SHOWN]) + (f" and {len(gone) - MOST_SHOWN} more" if gone[MOST_SHOWN:] else "")
            logger.info("removed what the broker retained of an earlier configuration: %s", shown)
        return announced is not None

    def info(self, info: DeviceInfo) -> None:
        """Publish what runs on this device, retained."""
        self._retain(self.topics.info, encode(info_payload(info, self._origin)))

    def statistics(self, statistics: Statistics) -> None:
        """Publish statistics and this publisher's own counters; QoS 0."""
        encoded = encode(stats_payload(statistics, self.counters(), self._origin, published_at=_now()))
        self._network.send(Outgoing(self.topics.stats, 0, partial(ready_made, encoded)))

    @property
    def summary(self) -> str:
        """Whether the broker is connected."""
        return f"broker {'connected' if self._tally.connected else 'not connected'}"

    @property
    def pulses(self) -> Mapping[str, Pulse]:
        """Pulse of the thread that owns the connection."""
        return {"the MQTT thread": self._network.pulse}

    def counters(self) -> PublishCounters:
        """Counters of the messages so far."""
        if self._outbox is None:
            return self._tally.snapshot(waiting=0)
        return self._tally.snapshot(waiting=self._outbox.waiting, oldest_s=self._outbox.oldest_s)

    def close(self) -> None:
        """Store durable messages, publish `offline`, disconnect; takes less than 2 s even if the broker hangs.

        Safe to call twice.
        """
        if self._closed:
            return
        self._closed = True
        began = time.monotonic()
        self._mailbox.shut()
        self._announcer.close()
        self._search.stop(0)
        self._cameras.end()
        self._mailbox.set_state(RetainedState(self.topics.status, self._status(OFFLINE)))
        if self._outbox is not None:
            self._outbox.shut()
            self._send_last(self._outbox)
        self._network.close(CLOSE_TIMEOUT_S / 2)
        self._mailbox.abandon()
        if self._outbox is not None:
            self._outbox.close(max(0.1, CLOSE_TIMEOUT_S - (time.monotonic() - began)))
        self._search.stop(max(0, CLOSE_TIMEOUT_S - (time.monotonic() - began)))

    def _send_last(self, outbox: Outbox) -> None:
        """Give a connected broker a moment for the last durable messages: the ends of events are among them."""
        until, never = time.monotonic() + LAST_S, threading.Event()
        while self._tally.connected and 0 < outbox.waiting <= FEW_LAST and time.monotonic() < until:
            never.wait(LAST_S / 50)

    def _encode(self, result: FrameResult, origin: Origin, most_bytes: int) -> bytes:
        return self._fitted(frame_payload(result, origin, published_at=_now()), most_bytes)

    def _encode_durable(self, result: FrameResult, origin: Origin, delivery: int) -> bytes:
        payload = {**frame_payload(result, origin, published_at=_now()), "delivery": delivery}
        return self._fitted(payload, self._options.max_payload_bytes)

    def _fitted(self, payload: Payload, most_bytes: int) -> bytes:
        """Encode `payload`; if it is too large, leave out its least confident detections and say how many."""
        encoded = encode(payload)
        if len(encoded) <= most_bytes:
            return encoded
        found = payload["detections"]
        kept = len(found)
        while kept and len(encoded) > most_bytes:
            kept = min(kept - 1, int(kept * most_bytes / len(encoded)))
            encoded = encode({**payload, "detections": found[:kept], "omitted": len(found) - kept})
        if len(encoded) > most_bytes:
            raise TooLargeError(f"{len(encoded)} bytes without any detection, at most {most_bytes} are allowed")
        self._tally.add("truncated")
        return encoded

    def _status(self, word: bytes) -> bytes:
        return encode(status_payload(word.decode(), self._origin)) if self._json_only else word

    def _retain(self, topic: str, payload: bytes) -> None:
        state = RetainedState(topic, payload)
        self._mailbox.set_state(state)
        if not (payload or self._options.retain):
            self._mailbox.forget(state)  # the broker holds nothing that could be removed
        self._network.wake()


def client_id(options: MqttOptions, device: str) -> str:
    """The configured client id, or `edged-<device>`."""
    return options.client_id or f"edged-{device}"


def _now() -> datetime:
    return datetime.now(timezone.utc)
