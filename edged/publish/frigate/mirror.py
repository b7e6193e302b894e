"""The mirror: a sink with a connection of its own, for a last will belongs to a connection."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from edged.core.events import Count, Event, ObjectCounts, Snapshot
from edged.core.pulse import Pulse
from edged.core.states import CameraState, DeviceInfo, Statistics
from edged.core.types import FrameResult
from edged.core.watched import Watched
from edged.publish.cameras import OFFLINE, ONLINE
from edged.publish.client import Will
from edged.publish.counters import MessageTally
from edged.publish.frigate.payload import frigate_event
from edged.publish.mailbox import Mailbox, Outgoing, RetainedState, ready_made
from edged.publish.network import Network
from edged.publish.options import MqttOptions
from edged.publish.payload import Payload, encode
from edged.publish.sender import Sender
from edged.publish.tls import tls_context
from edged.publish.topics import level

CLOSE_S = 0.5
_ALL = "all"


class FrigateMirror:
    """Implements `edged.core.protocols.Sink`: counts, events and pictures below Frigate's prefix.

    No method waits for the network. What cannot be sent is dropped: whoever needs each event reads edged's own.

    Args:
        options: the broker.
        client_id: of this connection.
        prefix: Frigate's `topic_prefix`.
        cameras: the present cameras.

    Raises:
        ConfigError: TLS files cannot be used.
    """

    def __init__(self, options: MqttOptions, *, client_id: str, prefix: str, cameras: Iterable[Watched]) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._cameras = {each.camera for each in cameras}
        self._counts: dict[str, ObjectCounts] = {}
        self._before: dict[str, Payload] = {}
        self._topics: dict[str, set[str]] = {}  # retained of each camera
        self._zones: dict[str, set[str]] = {}  # and of each zone
        self._tally = tally = MessageTally()
        self._mailbox = Mailbox(capacity=options.queue_messages, tally=tally)
        self._network = Network(
            options,
            client_id=client_id,
            will=Will(self._available, OFFLINE),
            context=None if options.tls is None else tls_context(options.tls),
            mailbox=self._mailbox,
            sender=Sender(options, mailbox=self._mailbox, outbox=None, tally=tally),
            tally=tally,
            on_connected=lambda: None,
        )
        self._retain(self._available, ONLINE)
        self._network.start()

    @property
    def _available(self) -> str:
        return f"{self._prefix}/available"

    def publish(self, result: FrameResult) -> None:
        """Frigate has no message a frame."""

    def event(self, event: Event) -> None:
        """Publish a message of an event, with its state before."""
        with self._lock:
            message = frigate_event(event, before=self._before.pop(event.event, None))
            if event.type != "end":
                self._before[event.event] = message["after"]
        self._network.send(Outgoing(f"{self._prefix}/events", 1, partial(ready_made, encode(message))))

    def objects(self, counts: ObjectCounts) -> None:
        """Publish how many objects there are; of a camera that is not looked at the last numbers stay."""
        with self._lock:
            if not counts.available or counts.camera not in self._cameras:
                return
            before = self._counts.get(counts.camera, counts)
            self._counts[counts.camera] = counts
            topics = self._topics.setdefault(counts.camera, set())
            topics.update(self._say(counts.camera, counts.labels))
            for zone in {*before.zones, *counts.zones}:
                self._say_zone(zone)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Publish a picture, retained."""
        with self._lock:
            if snapshot.camera in self._cameras:
                topic = f"{self._prefix}/{snapshot.camera}/{level(snapshot.label)}/snapshot"
                self._topics.setdefault(snapshot.camera, set()).add(topic)
                self._retain(topic, snapshot.jpeg)

    def set_model(self, model: str, classes: Sequence[str]) -> None:
        """Events name their model themselves; Frigate's do not."""

    def camera_state(self, state: CameraState) -> None:
        """Frigate has no such message."""

    def watch(self, cameras: Iterable[Watched]) -> None:
        """These are the cameras from now on: what is retained of others is removed."""
        with self._lock:
            self._cameras = {each.camera for each in cameras}
            for gone in set(self._topics).difference(self._cameras):
                zones = self._counts[gone].zones if gone in self._counts else {}
                self._counts.pop(gone, None)
                for topic in self._topics.pop(gone):
                    self._retain(topic, b"")
                for zone in zones:
                    self._say_zone(zone)

    def info(self, info: DeviceInfo) -> None:
        """Frigate has no such message."""

    def statistics(self, statistics: Statistics) -> None:
        """Frigate's are of another kind."""

    @property
    def summary(self) -> str:
        """Whether the broker is connected."""
        return f"Frigate's topics {'connected' if self._tally.connected else 'not connected'}"

    @property
    def pulses(self) -> Mapping[str, Pulse]:
        """Pulse of the thread that owns the connection."""
        return {"the MQTT thread of Frigate's topics": self._network.pulse}

    def close(self) -> None:
        """Publish `offline` and zeros, for what is not seen again would stay; disconnect. Safe to call twice."""
        self._mailbox.shut()
        with self._lock:
            for topic in set[str]().union(*self._topics.values(), *self._zones.values()):
                if not topic.endswith("/snapshot"):
                    self._mailbox.set_state(RetainedState(topic, b"0"))
        self._mailbox.set_state(RetainedState(self._available, OFFLINE))
        self._network.close(CLOSE_S)
        self._mailbox.abandon()

    def _say_zone(self, zone: str) -> None:
        """Publish the counts of a zone, summed over the cameras that have it: Frigate's know no camera."""
        if zone in self._cameras:  # its topics are the camera's
            return
        tables = [counts.zones[zone] for counts in self._counts.values() if zone in counts.zones]
        everywhere: dict[str, Count] = {}
        for label, count in (pair for table in tables for pair in table.items()):
            sofar = everywhere.get(label, Count())
            everywhere[label] = Count(sofar.all + count.all, sofar.active + count.active)
        topics = self._say(zone, everywhere) if tables else set()
        for topic in self._zones.get(zone, set()) - topics:
            self._retain(topic, b"")
        self._zones[zone] = topics

    def _say(self, place: str, labels: Mapping[str, Count]) -> set[str]:
        """Publish counts; returns their topics."""
        numbers = Counter({_ALL: 0, f"{_ALL}/active": 0})
        for label, count in labels.items():
            for name in {level(label), _ALL}:
                numbers[name] += count.all
                numbers[f"{name}/active"] += count.active
        for name in numbers:
            self._retain(f"{self._prefix}/{place}/{name}", str(numbers[name]).encode())
        return {f"{self._prefix}/{place}/{name}" for name in numbers}

    def _retain(self, topic: str, payload: bytes) -> None:
        self._mailbox.set_state(RetainedState(topic, payload))
        self._network.wake()
