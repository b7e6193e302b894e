"""Several sinks as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edged.core.protocols import Sink
from edged.core.pulse import Pulse
from edged.core.states import CameraState, DeviceInfo, Statistics
from edged.core.types import FrameResult


class Sinks:
    """Implements `edged.core.protocols.Sink`: everything goes to each of them, in this order.

    Args:
        sinks: owned from now on.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def publish(self, result: FrameResult) -> None:
        """Accept one result."""
        for sink in self._sinks:
            sink.publish(result)

    def set_model(self, model: str, classes: Sequence[str]) -> None:
        """Results from now on come from this bundle."""
        for sink in self._sinks:
            sink.set_model(model, classes)

    def camera_state(self, state: CameraState) -> None:
        """How a camera is."""
        for sink in self._sinks:
            sink.camera_state(state)

    def keep_cameras(self, names: Iterable[str]) -> None:
        """From now on there are these cameras."""
        kept = tuple(names)
        for sink in self._sinks:
            sink.keep_cameras(kept)

    def info(self, info: DeviceInfo) -> None:
        """What runs here."""
        for sink in self._sinks:
            sink.info(info)

    def statistics(self, statistics: Statistics) -> None:
        """Figures of this moment."""
        for sink in self._sinks:
            sink.statistics(statistics)

    @property
    def summary(self) -> str:
        """How each of them is."""
        return ", ".join(sink.summary for sink in self._sinks)

    @property
    def pulses(self) -> Mapping[str, Pulse]:
        """Of the threads of all of them."""
        return {name: pulse for sink in self._sinks for name, pulse in sink.pulses.items()}

    def close(self) -> None:
        """Close each, whatever becomes of the others; safe to call twice."""
        failure: Exception | None = None
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as exc:  # noqa: BLE001 - raised below, when all are closed
                failure = failure or exc
        if failure is not None:
            raise failure
