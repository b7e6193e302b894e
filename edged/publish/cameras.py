"""The retained topics of each camera: status, health, objects, snapshots."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone

from edged.core.events import ObjectCounts, Snapshot
from edged.core.names import require_camera_name
from edged.core.states import CameraState
from edged.publish.event_payload import objects_payload
from edged.publish.identity import Origin
from edged.publish.payload import encode, health_payload
from edged.publish.topics import Topics

ONLINE = b"online"
OFFLINE = b"offline"
STOPPED = "edged was stopped"


class CameraStates:
    """Keeps the retained topics of all cameras up to date; any thread may call.

    Args:
        topics: the device's.
        names: the present cameras; nothing is published about others. None: every camera that has a state.
        retain: sets the retained payload of a topic; an empty payload removes it.
        origin: what messages name as their origin now.
        json_only: leave out what is not JSON, the word `online` and pictures: the topic does not say of what they are.

    Raises:
        ValueError: a name that no camera may have.
    """

    def __init__(
        self,
        topics: Topics,
        *,
        names: Iterable[str] | None,
        retain: Callable[[str, bytes], None],
        origin: Callable[[], Origin],
        json_only: bool = False,
    ) -> None:
        self._json_only = json_only
        self._topics = topics
        self._origin = origin
        self._retain = retain
        self._lock = threading.Lock()
        self._names = None if names is None else _checked(names)
        self._states: dict[str, CameraState] = {}
        self._counts: dict[str, ObjectCounts] = {}
        self._pictures: dict[str, set[str]] = {}  # topics of each camera's snapshots
        self._ended = False

    def tell(self, state: CameraState) -> None:
        """Publish the state of a camera.

        Raises:
            ValueError: a name that no camera may have.
        """
        name = state.camera
        require_camera_name(name)
        with self._lock:
            if self._ended or (self._names is not None and name not in self._names):
                return
            self._say(state)

    def _say(self, state: CameraState) -> None:
        name = state.camera
        self._states[name] = state
        if counts := self._counts.get(name):
            if not state.alive:
                self._counts[name] = replace(counts, available=False, as_of=state.since)
            self._say_objects(name)
        if not self._json_only:
            self._retain(self._topics.camera_status(name), ONLINE if state.alive else OFFLINE)
        self._retain(self._topics.camera_health(name), encode(health_payload(state, device=self._topics.device)))

    def objects(self, counts: ObjectCounts) -> None:
        """Publish how many objects a camera shows."""
        with self._lock:
            if self._ended or (self._names is not None and counts.camera not in self._names):
                return
            self._counts[counts.camera] = counts
            self._say_objects(counts.camera)

    def _say_objects(self, name: str) -> None:
        """Publish the counts; of a camera that gives no frames they are not available, whatever was counted last."""
        counts, state = self._counts[name], self._states.get(name)
        alive = state is not None and state.alive
        shown = replace(counts, available=counts.available and alive)
        self._retain(self._topics.camera_objects(name), encode(objects_payload(shown, self._origin())))

    def snapshot(self, snapshot: Snapshot) -> None:
        """Publish a picture."""
        with self._lock:
            known = self._names is None or snapshot.camera in self._names
            if self._ended or self._json_only or not known:
                return
            topic = self._topics.snapshot(snapshot.camera, snapshot.label)
            self._pictures.setdefault(snapshot.camera, set()).add(topic)
            self._retain(topic, snapshot.jpeg)

    def keep(self, names: Iterable[str]) -> None:
        """These are the cameras from now on: remove the retained topics of others.

        Raises:
            ValueError: a name that no camera may have.
        """
        with self._lock:
            if self._ended:
                return
            self._names = _checked(names)
            for name in [name for name in self._states if name not in self._names]:
                del self._states[name]
                self._counts.pop(name, None)
                for topic in (*self._pictures.pop(name, ()), *self._of(name)):
                    self._retain(topic, b"")

    def _of(self, name: str) -> list[str]:
        """All retained topics of a camera; last its health, by which a later start recognises it as this device's."""
        topics = self._topics
        status = [] if self._json_only else [topics.camera_status(name)]
        return [topics.camera_objects(name), *status, topics.camera_health(name)]

    def tidy(self, held: Iterable[str]) -> set[str]:
        """Remove from the broker what it retains of cameras that are not configured; returns those topics.

        Args:
            held: topics that the broker retains of cameras of this device.
        """
        with self._lock:
            if self._names is None or self._ended:
                return set()
            gone = set(held).difference(*(self._of(name) for name in self._names))
            for topic in sorted(gone, key=lambda topic: (topic.endswith("/health"), topic)):
                if topic.endswith("/health"):
                    self._remove_pictures(topic.split("/")[-2])
                self._retain(topic, b"")
            return gone

    def _remove_pictures(self, name: str) -> None:
        """Of a camera of an earlier run, whose labels are not known: those of every class."""
        for label in self._origin().classes:
            self._retain(self._topics.snapshot(name, label), b"")

    def end(self) -> None:
        """Publish that no camera is watched any more; nothing is published after that."""
        with self._lock:
            for state in list(self._states.values()):
                if state.state not in {"offline", "ended"}:
                    now = datetime.now(timezone.utc)
                    self._say(replace(state, state="offline", reason=STOPPED, since=now))
            self._ended = True


def _checked(names: Iterable[str]) -> set[str]:
    checked = set(names)
    for name in checked:
        require_camera_name(name)
    return checked
