"""The sink that says everything on the feed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from edged.core.addresses import without_addresses
from edged.core.events import Event, ObjectCounts, Snapshot
from edged.core.pulse import Pulse
from edged.core.states import CameraState, DeviceInfo, Statistics
from edged.core.types import FrameResult
from edged.core.watched import Watched
from edged.feed.answers import Answers
from edged.feed.pictures import Pictures
from edged.feed.server import FeedServer, Said
from edged.feed.wire import PROTOCOL, Message, packed
from edged.publish.counters import PublishCounters
from edged.publish.event_payload import event_payload, objects_payload
from edged.publish.identity import Origin
from edged.publish.payload import frame_payload, health_payload, info_payload, stats_payload


class Feed:
    """Implements `edged.core.protocols.Sink` for programs on this machine.

    No method waits for a client. While nobody is connected detections cost a comparison.

    Args:
        listener: a listening Unix socket; closed by `close`.
        origin: device, model and session that messages name.
        cameras: the present cameras.
        pictures: the stage that takes frames which clients ask for.
        counters: of the messages over MQTT, for the statistics.
        read_snapshot: the JPEG of an event, with its box or clean; None where there is none. It may raise OSError.
    """

    def __init__(
        self,
        listener: socket.socket,
        origin: Origin,
        *,
        cameras: Iterable[Watched],
        pictures: Pictures,
        counters: Callable[[], PublishCounters],
        read_snapshot: Callable[[str, bool], bytes | None],
    ) -> None:
        self._origin, self._counters = origin, counters
        self._lock = threading.Lock()  # of what cameras there are, and what is kept of each
        self._cameras: set[str] = set()
        self._info: DeviceInfo | None = None
        pictures.described = lambda result: partial(frame_payload, result, self._origin, published_at=_now())
        self._server = FeedServer(
            listener, pictures=pictures, answers=Answers(read_snapshot=read_snapshot), knows=self._knows
        )
        hello = {"kind": "hello", "protocol": PROTOCOL, "device": origin.device, "session": origin.session}
        self._keep(hello, "hello")
        self.watch(cameras)
        self._server.start()

    def publish(self, result: FrameResult) -> None:
        """Say what was found in a frame, where somebody listens."""
        if self._server.clients:
            self._server.say(Said(partial(_encoded, result, self._origin), may_be_missed=True))

    def event(self, event: Event) -> None:
        """Say a message of an event; an open one is said again to whoever connects."""
        payload = event_payload(event, self._origin, published_at=_now())
        crossed = [{"name": each.name, "direction": each.direction} for each in event.crossed]
        message = packed({"kind": "event", **payload, "crossed": crossed})
        self._server.say(Said(lambda: message, key=("event", event.event), ends=event.type == "end"))

    def objects(self, counts: ObjectCounts) -> None:
        """Say how many objects a camera shows."""
        message = {"kind": "objects", **objects_payload(counts, self._origin)}
        with self._lock:
            if counts.camera in self._cameras:
                self._keep(message, "objects", counts.camera)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Whoever wants to see it asks for it."""

    def set_model(self, model: str, classes: Sequence[str]) -> None:
        """Results said from now on name this bundle and these classes."""
        self._origin = replace(self._origin, model=model, classes=tuple(classes))
        if self._info is not None:
            self.info(replace(self._info, model=model))

    def camera_state(self, state: CameraState) -> None:
        """Say the state of a camera, and how it is read."""
        state = replace(state, reason=without_addresses(state.reason))
        how = {"decoder": state.decoder, "size": list(state.size_wh), "fps": round(state.fps, 2)}
        message = {"kind": "camera", **health_payload(state, device=self._origin.device), **how}
        with self._lock:
            if state.camera in self._cameras:
                self._keep(message, "camera", state.camera)

    def watch(self, cameras: Iterable[Watched]) -> None:
        """These are the cameras from now on."""
        watched = tuple(cameras)
        names = {each.camera for each in watched}
        with self._lock:
            for gone in self._cameras - names:
                removed = partial(packed, {"kind": "removed", "camera": gone})
                for kind in ("camera", "objects"):
                    self._server.say(Said(removed, key=(kind, gone), ends=True))
                self._server.forget(gone)
            self._cameras = names
            self._keep({"kind": "cameras", "cameras": [_described_camera(each) for each in watched]}, "cameras")

    def info(self, info: DeviceInfo) -> None:
        """Say what runs on this device."""
        self._info = info
        self._keep({"kind": "info", **info_payload(info, self._origin), "classes": self._origin.classes}, "info")

    def statistics(self, statistics: Statistics) -> None:
        """Say what was counted."""
        cameras = statistics.cameras.values()
        self._server.allowance.report(
            captured=sum(one.captured for one in cameras), dropped=sum(one.too_many for one in cameras)
        )
        payload = stats_payload(statistics, self._counters(), self._origin, published_at=_now())
        self._keep({"kind": "statistics", **payload}, "statistics")

    @property
    def summary(self) -> str:
        """How many programs listen."""
        return f"{self._server.clients} on the feed"

    @property
    def pulses(self) -> Mapping[str, Pulse]:
        """None: whatever happens to the feed, detection goes on."""
        return {}

    def close(self) -> None:
        """Send what waits, for a moment, and end; safe to call twice."""
        self._server.close()

    def _knows(self, camera: str) -> bool:
        return camera in self._cameras

    def _keep(self, message: Mapping[str, Any], *key: str) -> None:
        encoded = packed(message)
        self._server.say(Said(lambda: encoded, key=key))


def _encoded(result: FrameResult, origin: Origin) -> bytes:
    return packed({**frame_payload(result, origin, published_at=_now()), "kind": "detections"})


def _described_camera(watched: Watched) -> Message:
    return {
        "camera": watched.camera,
        "labels": watched.labels,
        "followed": watched.followed,
        "pictured": watched.pictured,
        "areas": [
            {"kind": area.kind, "name": area.name, "points": area.points, "labels": area.labels}
            for area in watched.areas
        ],
    }


def _now() -> datetime:
    return datetime.now(timezone.utc)
