"""The seams between stages: what a source, a detector and a publisher promise. Fakes implement these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edged.core.types import Frame, FrameResult, Thresholds


class FrameSource(Protocol):
    """One camera, stream or file, read in the calling thread."""

    def read(self) -> Frame | None:
        """The next frame; blocks up to the source's deadline. None: a file played once has ended.

        Raises:
            CameraError: the stream is lost; open a new source.
        """
        ...

    def close(self) -> None:
        """Release the device or file; safe to call twice."""
        ...


class FrameSupply(Protocol):
    """Many cameras, each giving its newest frame."""

    def take(self, limit: int, *, timeout_s: float) -> list[Frame]:
        """Up to `limit` frames, at most one a camera, fairly; empty when none came within `timeout_s`."""
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


class Publisher(Protocol):
    """Hands results on; never blocks the pipeline."""

    def publish(self, result: FrameResult) -> None:
        """Accept one result. What cannot be accepted is dropped and counted, never raised."""
        ...

    def close(self) -> None:
        """Flush what may be flushed, say `offline`, disconnect; safe to call twice."""
        ...
