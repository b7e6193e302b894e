"""What the broker retains of each camera: status, health, the number of objects, and what Home Assistant is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from edged.publish.home_assistant import discovery
from edged.publish.payload import LIVE_STATES, CameraStateName, encode, health_payload
from edged.publish.topics import Topics, require_camera_name

ONLINE = b"online"
OFFLINE = b"offline"
STOPPED = "edged was stopped"


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """How a camera is.

    Attributes:
        state: of its stream.
        reason: for people; empty where there is nothing to say.
        since: when it became so, with time zone.
        reconnects: since the start.
    """

    state: CameraStateName
    reason: str
    since: datetime
    reconnects: int

    @property
    def live(self) -> bool:
        """Whether detections may be expected."""
        return self.state in LIVE_STATES


class CameraStates:
    """Keeps the retained topics of all cameras true; any thread may call.

    Args:
        topics: the device's.
        names: the cameras that there are; of others nothing is said. None: every camera that is told of.
        discovery_prefix: of Home Assistant; empty: say nothing to it.
        retain: what a topic shall hold from now on; an empty payload removes it.

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
        self._health: dict[str, CameraHealth] = {}
        self._objects: dict[str, int] = {}
        self._ended = False

    def tell(self, name: str, health: CameraHealth) -> None:
        """Say how a camera is.

        Raises:
            ValueError: a name that no camera may have.
        """
        require_camera_name(name)
        with self._lock:
            if self._ended or (self._names is not None and name not in self._names):
                return
            if self._discovery_prefix:
                for topic, config in discovery(self._topics, name, prefix=self._discovery_prefix).items():
                    self._retain(topic, encode(config))
            self._say(name, health)

    def _say(self, name: str, health: CameraHealth) -> None:
        self._health[name] = health
        if not health.live and self._discovery_prefix:
            self._objects.pop(name, None)
            self._retain(self._topics.camera_objects(name), b"")
        payload = health_payload(
            name,
            device=self._topics.device,
            state=health.state,
            reason=health.reason,
            since=health.since,
            reconnects=health.reconnects,
        )
        self._retain(self._topics.camera_status(name), ONLINE if health.live else OFFLINE)
        self._retain(self._topics.camera_health(name), encode(payload))

    def count(self, name: str, objects: int) -> None:
        """So many objects are in the latest frame of a camera; said to Home Assistant when it changes."""
        if not self._discovery_prefix:
            return
        with self._lock:
            health = self._health.get(name)
            # A frame that was under way when its camera was lost must not bring the count back.
            if self._ended or health is None or not health.live or self._objects.get(name) == objects:
                return
            self._objects[name] = objects
            self._retain(self._topics.camera_objects(name), str(objects).encode())

    def keep(self, names: Iterable[str]) -> None:
        """From now on there are these cameras: what is retained of others is removed.

        Raises:
            ValueError: a name that no camera may have.
        """
        with self._lock:
            if self._ended:
                return
            self._names = _checked(names)
            for name in [name for name in self._health if name not in self._names]:
                del self._health[name]
                self._objects.pop(name, None)
                for topic in self._of(name):
                    self._retain(topic, b"")

    def _of(self, name: str) -> list[str]:
        """Every topic retained for a camera; its health, by which a later start knows it as ours, comes last."""
        announced: list[str] = []
        if self._discovery_prefix:
            announced = [*discovery(self._topics, name, prefix=self._discovery_prefix)]
            announced.append(self._topics.camera_objects(name))
        return [*announced, self._topics.camera_status(name), self._topics.camera_health(name)]

    def tidy(self, held: Iterable[str]) -> set[str]:
        """Remove from the broker what it holds of this device's cameras and nobody configured; the topics.

        Args:
            held: topics that hold something of a camera of this device, whichever.
        """
        with self._lock:
            if self._names is None or self._ended:
                return set()
            gone = set(held).difference(*(self._of(name) for name in self._names))
            for topic in sorted(gone, key=lambda topic: (topic.endswith("/health"), topic)):
                self._retain(topic, b"")
            return gone

    def end(self) -> None:
        """Say that no camera is watched any more; nothing is said after that."""
        with self._lock:
            for name, health in list(self._health.items()):
                if health.state not in {"offline", "ended"}:
                    now = datetime.now(timezone.utc)
                    self._say(name, replace(health, state="offline", reason=STOPPED, since=now))
            self._ended = True


def _checked(names: Iterable[str]) -> set[str]:
    checked = set(names)
    for name in checked:
        require_camera_name(name)
    return checked
