"""Keeps the discovery messages at the broker as the present cameras want them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edged.core.watched import Watched
from edged.publish.home_assistant.earlier import MIGRATE, earlier_filters, earlier_topics
from edged.publish.home_assistant.entities import camera_entities
from edged.publish.home_assistant.messages import (
    announced_entities,
    box_message,
    box_topic,
    camera_message,
    camera_topic,
)
from edged.publish.mailbox import Outgoing
from edged.publish.payload import encode
from edged.publish.topics import Topics

CONFIRM_S = 10.0  # longest wait for the broker's confirmation
PAUSE_S = 1.0  # Home Assistant lets go of an entity, and takes it up, in tasks of their own


def announcement_filters(topics: Topics, *, prefix: str) -> list[str]:
    """Topic filters for everything that this device, or an earlier release on it, announced."""
    return [
        *earlier_filters(topics, prefix=prefix),
        box_topic(topics, prefix=prefix),
        camera_topic(topics, "+", prefix=prefix),
    ]


class Announcer:
    """Announces the box and its cameras. Nothing is announced before `begin`: what earlier runs announced decides how.

    Any thread may call.

    Args:
        topics: the device's.
        prefix: of Home Assistant; empty: announce nothing, and take away what was announced.
        retain: sets the retained payload of a topic; an empty payload removes it.
        send: takes a message that is not retained.
        cameras: the present ones.
    """

    def __init__(
        self,
        topics: Topics,
        *,
        prefix: str,
        retain: Callable[[str, bytes], None],
        send: Callable[[Outgoing], None],
        cameras: Iterable[Watched],
    ) -> None:
        self._topics = topics
        self._prefix = prefix
        self._retain, self._send = retain, send
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._wanted = {each.camera: each for each in cameras}
        self._announced: dict[str, dict[str, str]] = {}  # platforms of the entities of each camera, by name
        self._shown: set[str] = set()  # cameras that are announced now
        self._begun = False

    def watch(self, cameras: Iterable[Watched]) -> None:
        """These are the cameras from now on."""
        with self._lock:
            self._wanted = {each.camera: each for each in cameras}
            if self._begun:
                self._announce()

    def begin(self, held: Mapping[str, Mapping[str, Any]], *, known: bool) -> set[str] | None:
        """Announce the cameras; takes a few seconds where earlier releases announced them. Later calls only tidy up.

        Args:
            held: what the broker retains of this device's announcements: contents by topic.
            known: whether `held` is all; what it does not hold may be there otherwise.

        Returns:
            Topics of announcements that were taken away; None where the broker was lost: to be called again.
        """
        earlier = self._earlier(held, known=known)
        moving = [topic for topic, stays in earlier.items() if stays]
        if not self._told_to_move(moving):
            return None
        with self._lock:
            if self._prefix and not self._begun:
                self._begun = True
                for name in self._wanted:
                    content = held.get(self._topic(name), {})
                    self._announced[name] = announced_entities(content)
                self._announce()
        if moving and self._closed.wait(PAUSE_S):
            return None
        with self._lock:
            gone = set(held).difference(self._present(), earlier)
            for topic in (*earlier, *sorted(gone)):
                self._retain(topic, b"")
        return gone

    def close(self) -> None:
        """Announce nothing more; what is announced stays."""
        self._closed.set()

    def _earlier(self, held: Mapping[str, object], *, known: bool) -> dict[str, bool]:
        """Where earlier releases announced entities of the present cameras, and whether there still are such."""
        with self._lock:
            if self._begun or not self._prefix:
                return {}
            topics = {
                topic: name in camera_entities(self._topics, watched)
                for camera, watched in self._wanted.items()
                for name, topic in earlier_topics(self._topics, camera, prefix=self._prefix).items()
            }
        return {topic: stays for topic, stays in topics.items() if topic in held or not known}

    def _told_to_move(self, topics: Sequence[str]) -> bool:
        """Tell Home Assistant that the entities of these topics move, and wait until it has let go of them."""
        told = [threading.Event() for _ in topics]
        for topic, event in zip(topics, told, strict=True):
            self._send(Outgoing(topic, 1, lambda _: MIGRATE, event.set))
        until = time.monotonic() + CONFIRM_S
        while not all(event.is_set() for event in told):
            # Announced before that, its new entities would be refused and the old ones then deleted.
            if time.monotonic() > until or self._closed.wait(0.05):
                return False
        return not (topics and self._closed.wait(PAUSE_S))

    def _topic(self, camera: str) -> str:
        return camera_topic(self._topics, camera, prefix=self._prefix)

    def _present(self) -> set[str]:
        """The topics that hold announcements."""
        if not self._prefix:
            return set()
        cameras = (self._topic(name) for name in self._wanted)
        return {box_topic(self._topics, prefix=self._prefix), *cameras}

    def _announce(self) -> None:
        if self._closed.is_set():
            return
        self._retain(box_topic(self._topics, prefix=self._prefix), encode(box_message(self._topics)))
        for name, watched in self._wanted.items():
            before = self._announced.get(name, {})
            message = camera_message(self._topics, watched, gone=before)
            self._retain(self._topic(name), encode(message))
            self._announced[name] = before | announced_entities(message)
        for name in self._shown.difference(self._wanted):
            self._retain(self._topic(name), b"")
        self._shown = set(self._wanted)
