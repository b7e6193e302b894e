"""Protocols of what a scene does with the pixels of a frame."""

from __future__ import annotations

from typing import Protocol

from edged.analysis.occurrence import Occurrence
from edged.analysis.tracking.track import Track
from edged.core.types import Frame


class Looks(Protocol):
    """Remembers how the places of stationary objects look."""

    def remember(self, track: Track, frame: Frame) -> None:
        """The object is there in this frame."""
        ...

    def same(self, track: Track, frame: Frame) -> bool:
        """Whether its place looks in this frame as it did with the object."""
        ...

    def forget(self, serial: int) -> None:
        """The track is gone."""
        ...


class Pictures(Protocol):
    """Takes pictures of objects."""

    def consider(self, occurrence: Occurrence, frame: Frame) -> None:
        """The object is there in this frame."""
        ...

    def forget(self, event: str) -> None:
        """The event is over."""
        ...
