"""The retained topics of each camera: status, health, and for Home Assistant number of objects and discovery."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone

from edged.core.names import require_camera_name
from edged.core.states import CameraState
from edged.publish.home_assistant import discovery
from edged.publish.payload import encode, health_payload
from edged.publish.topics import Topics

ONLINE = b"online"
OFFLINE = b"offline"
# Home Assistant ignores an empty number, and would show the old one when the camera is back.
UNKNOWN = b"None"
STOPPED = "edged was stopped"


class CameraStates:
    """Keeps the retained topics of all cameras up to date; any thread may call.

    Args:
        topics: the device's.
        names: the present cameras; nothing is published about others. None: every camera that has a state.
        discovery_prefix: of Home Assistant; empty: publish nothing for it.
        retain: sets the retained payload of a topic; an empty payload removes it.

    Raises:
        ValueError: a name that no camera may have.
    """

    def __init__(
        self,
        topics: Topics,
        *,
        names: Iterable[str] | None,
        discovery_prefix: str,
        retain: Callable[[str, bytes], None],
    ) -> None:
        self._topics = topics
        self._discovery_prefix = discovery_prefix
        self._retain = retain
        self._lock = threading.Lock()
        self._names = None if names is None else _checked(names)
        self._states: dict[str, CameraState] = {}
        self._objects: dict[str, int] = {}
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
            if self._discovery_prefix:
                for topic, config in discovery(self._topics, name, prefix=self._discovery_prefix).items():
                    self._retain(topic, encode(config))
            self._say(state)

    def _say(self, state: CameraState) -> None:
        name = state.camera
        self._states[name] = state
        if not state.alive and self._discovery_prefix:
            self._objects.pop(name, None)
            self._retain(self._topics.camera_objects(name), UNKNOWN)
        self._retain(self._topics.camera_status(name), ONLINE if state.alive else OFFLINE)
        self._retain(self._topics.camera_health(name), encode(health_payload(state, device=self._topics.device)))

    def count(self, name: str, objects: int) -> None:
        """Note the number of objects in a camera's latest frame; published for Home Assistant when it changes."""
        if not self._discovery_prefix:
            return
        with self._lock:
            state = self._states.get(name)
            # A frame that was under way when its camera was lost must not bring the count back.
            if self._ended or state is None or not state.alive or self._objects.get(name) == objects:
                return
            self._objects[name] = objects
            self._retain(self._topics.camera_objects(name), str(objects).encode())

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
                self._objects.pop(name, None)
                for topic in self._of(name):
                    self._retain(topic, b"")

    def _of(self, name: str) -> list[str]:
        """All retained topics of a camera; last its health, by which a later start recognises it as this device's."""
        announced: list[str] = []
        if self._discovery_prefix:
            announced = [*discovery(self._topics, name, prefix=self._discovery_prefix)]
            announced.append(self._topics.camera_objects(name))
        return [*announced, self._topics.camera_status(name), self._topics.camera_health(name)]

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
                self._retain(topic, b"")
            return gone

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
