"""The protocols of the pipeline's parts: supply of frames, detector, stage and sink. Fakes implement them, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from edged.core.events import Event, ObjectCounts, Snapshot
from edged.core.pulse import Pulse
from edged.core.states import CameraState, DeviceInfo, Statistics
from edged.core.types import Frame, FrameResult, Thresholds
from edged.core.watched import Watched


class FrameSupply(Protocol):
    """Many cameras, each giving its newest frame."""

    def take(self, limit: int, *, timeout_s: float) -> list[Frame]:
        """Up to `limit` frames, cameras in turn, each camera's in order; empty when none came within `timeout_s`."""
        ...

    def release(self, frames: Sequence[Frame]) -> None:
        """Give back the memory of frames that `take` handed out; once for each, from any thread."""
        ...

    @property
    def ended(self) -> bool:
        """Every camera is a file that was played to its end, and all its frames were taken."""
        ...


class Detector(Protocol):
    """Finds objects in frames; owns its device. One thread calls it, in the order submit, collect."""

    @property
    def room(self) -> int:
        """Frames that one `submit` accepts right now; 0 while enough is under way to keep the device busy."""
        ...

    def submit(self, frames: Sequence[Frame]) -> None:
        """Start on 1..room frames of any sizes. Their pixels must stay valid until collected.

        Raises:
            DetectorError: the device failed, or there are more frames than `room`.
        """
        ...

    def collect(self) -> list[FrameResult]:
        """Results of the oldest frames under way, at least one, in order; blocks up to the detector's deadline.

        Raises:
            DetectorError: the device failed, the deadline passed, or nothing is under way.
        """
        ...

    def close(self) -> None:
        """Free everything; safe to call twice."""
        ...


class TunableDetector(Detector, Protocol):
    """A detector whose thresholds may be replaced while it runs; they hold from the next frame on."""

    thresholds: Thresholds


class Stage(Protocol):
    """Takes each result with its frame and may add to it. Called in the pipeline's thread, before the sink."""

    def process(self, frame: Frame, result: FrameResult) -> FrameResult:
        """Return the result for the next stage; the frames of a camera come in order of capture.

        Args:
            frame: its pixels are valid until this returns.
            result: of the stage before; must not be changed.
        """
        ...

    def rest(self) -> None:
        """Called in every turn of the pipeline: at least five times a second, unless a frame takes longer."""
        ...

    def forget(self, camera: str) -> None:
        """The camera was removed: drop everything kept of it."""
        ...

    def close(self) -> None:
        """The pipeline has ended: no frame follows."""
        ...


class ResultSink(Protocol):
    """Takes results; never blocks the pipeline."""

    def publish(self, result: FrameResult) -> None:
        """Accept one result. What cannot be accepted is dropped and counted, never raised."""
        ...


class EventSink(Protocol):
    """Takes what analysis says besides results. Any thread may call it; it never blocks."""

    def event(self, event: Event) -> None:
        """Take a message of an event; those of one event come in order."""
        ...

    def objects(self, counts: ObjectCounts) -> None:
        """Take how many objects a camera shows now; holds until the next call for that camera."""
        ...

    def snapshot(self, snapshot: Snapshot) -> None:
        """Take the picture of an object; the latest of its camera and label is the one to show."""
        ...


class Sink(ResultSink, EventSink, Protocol):
    """Takes all that the daemon publishes: MQTT, a page, metrics. Any thread may call it; only `close` may block."""

    def set_model(self, model: str, classes: Sequence[str]) -> None:
        """Results from now on come from the bundle `model`, whose class names by id are `classes`."""
        ...

    def camera_state(self, state: CameraState) -> None:
        """Take the new state of a camera; ignored for a camera that `watch` did not name."""
        ...

    def watch(self, cameras: Iterable[Watched]) -> None:
        """These are the cameras from now on; nothing is published about others."""
        ...

    def info(self, info: DeviceInfo) -> None:
        """Take what runs on this device; holds until the next call."""
        ...

    def statistics(self, statistics: Statistics) -> None:
        """Take the statistics of this moment; the sink adds its own."""
        ...

    @property
    def summary(self) -> str:
        """Its state in a few words for a status line: `broker connected`."""
        ...

    @property
    def pulses(self) -> Mapping[str, Pulse]:
        """Pulses of its threads that the watchdog watches, by their names in the log."""
        ...

    def close(self) -> None:
        """Flush what can be flushed, publish `offline`, disconnect; safe to call twice."""
        ...
