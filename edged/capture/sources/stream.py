"""The protocol of every kind of source: grab, retrieve, close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edged.core.errors import CameraError, DamagedFile
from edged.core.types import Pixels


class OpenError(CameraError):
    """The source does not open."""


class OpenFileError(OpenError, DamagedFile):
    """The file can be read, but does not open as a video."""


class RefusedError(OpenError):
    """The source refused the credentials."""


class HardwareLost(CameraError):
    """The hardware decoder failed under way; the source may be opened again without it."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is being read.

    Attributes:
        decoder: backend, codec and whether in hardware, for people.
        live: frames come at their own time and cannot wait.
        fps: frames per second that the source claims; 0 where unknown.
        may_freeze: a picture that stands still means that something broke.
        transport: of RTSP: `tcp`, `udp` or `multicast`; else empty.
        key_interval_s: between the first two key frames; 0 where there was no second yet.
    """

    decoder: str
    live: bool
    fps: float
    may_freeze: bool
    transport: str = ""
    key_interval_s: float = 0.0


class Stream(Protocol):
    """One opened source. A frame is first grabbed (cheap where possible), then decoded by `retrieve` if wanted."""

    @property
    def info(self) -> StreamInfo:
        """What is being read; some of it is known only after a while."""
        ...

    @property
    def position_s(self) -> float:
        """Media time of the grabbed frame, seconds from the first; never decreases. Not used for live streams."""
        ...

    @property
    def damaged(self) -> int:
        """Number of damages so far that cost no frame of their own: between two frames, or repaired by the decoder."""
        ...

    @property
    def overtaken(self) -> int:
        """Number of frames so far that were passed over because newer ones waited behind them."""
        ...

    @property
    def location(self) -> str:
        """Where the grabbed frame comes from: the file's path or the address without secrets."""
        ...

    def grab(self) -> bool:
        """Go to the next frame. False: the end of a file.

        Raises:
            CameraError: the stream is lost.
        """
        ...

    def retrieve(self, into: Pixels | None) -> Pixels:
        """The grabbed frame, (H, W, 3) uint8 BGR: in `into` itself where its shape fits, else a new array.

        Raises:
            DataError: this one picture cannot be decoded; the next may.
        """
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...
