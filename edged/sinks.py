"""Combines several sinks into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edged.core.events import Event, ObjectCounts, Snapshot
from edged.core.protocols import Sink
from edged.core.pulse import Pulse
from edged.core.states import CameraState, DeviceInfo, Statistics
from edged.core.types import FrameResult
from edged.core.watched import Watched


class Sinks:
    """Implements `edged.core.protocols.Sink`: passes every call to each sink, in this order.

    Args:
        sinks: closed by `close`.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def publish(self, result: FrameResult) -> None:
        """Pass on one result."""
        for sink in self._sinks:
            sink.publish(result)

    def event(self, event: Event) -> None:
        """Pass on a message of an event."""
        for sink in self._sinks:
            sink.event(event)

    def objects(self, counts: ObjectCounts) -> None:
        """Pass on how many objects a camera shows."""
        for sink in self._sinks:
            sink.objects(counts)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Pass on a picture."""
        for sink in self._sinks:
            sink.snapshot(snapshot)

    def set_model(self, model: str, classes: Sequence[str]) -> None:
        """Pass on which model results come from."""
        for sink in self._sinks:
            sink.set_model(model, classes)

    def camera_state(self, state: CameraState) -> None:
        """Pass on the state of a camera."""
        for sink in self._sinks:
            sink.camera_state(state)

    def watch(self, cameras: Iterable[Watched]) -> None:
        """Pass on which cameras there are."""
        watched = tuple(cameras)
        for sink in self._sinks:
            sink.watch(watched)

    def info(self, info: DeviceInfo) -> None:
        """Pass on what runs on this device."""
        for sink in self._sinks:
            sink.info(info)

    def statistics(self, statistics: Statistics) -> None:
        """Pass on the statistics of this moment."""
        for sink in self._sinks:
            sink.statistics(statistics)

    @property
    def summary(self) -> str:
        """The summaries of all sinks, separated by commas."""
        return ", ".join(sink.summary for sink in self._sinks)

    @property
    def pulses(self) -> Mapping[str, Pulse]:
        """Pulses of the threads of all sinks, by name."""
        return {name: pulse for sink in self._sinks for name, pulse in sink.pulses.items()}

    def close(self) -> None:
        """Close all, even if one fails; then raises the first failure. Safe to call twice."""
        failure: Exception | None = None
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as exc:  # noqa: BLE001 - raised below, when all are closed
                failure = failure or exc
        if failure is not None:
            raise failure
