"""Registers the memory of the cameras' frames with a GPU detector, which then reads them without a copy."""

from __future__ import annotations

import threading
from typing import Protocol, runtime_checkable


@runtime_checkable
class PinsMemory(Protocol):
    """A detector that can read registered host memory directly."""

    def pin(self, address: int, nbytes: int) -> bool:
        """Register `nbytes` at `address`; False where the device refuses: frames are copied then."""
        ...

    def unpin(self, address: int) -> None:
        """Undo `pin`, before the memory is unmapped."""
        ...


class SlotPins:
    """Implements capture's `SlotWatcher`: keeps every existing slot area pinned by the present detector."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._areas: dict[int, int] = {}
        self._detector: PinsMemory | None = None

    def appeared(self, camera: str, address: int, length: int) -> None:  # noqa: ARG002 - as capture calls it
        """A slot area was made: pin it."""
        with self._lock:
            self._areas[address] = length
            if self._detector is not None:
                self._detector.pin(address, length)

    def vanished(self, camera: str, address: int) -> None:  # noqa: ARG002 - as capture calls it
        """A slot area is about to be unmapped: unpin it."""
        with self._lock:
            self._areas.pop(address, None)
            if self._detector is not None:
                self._detector.unpin(address)

    def serve(self, detector: object) -> None:
        """Pin all areas for a new detector; the one before unpins them when it closes."""
        with self._lock:
            self._detector = detector if isinstance(detector, PinsMemory) else None
            if self._detector is not None:
                for address, length in self._areas.items():
                    self._detector.pin(address, length)
