"""Tells a detector on the GPU where the cameras' frames lie, so that it can read them without a copy."""

from __future__ import annotations

import threading
from typing import Protocol, runtime_checkable


@runtime_checkable
class PinsMemory(Protocol):
    """A detector that can read host memory directly once it was registered."""

    def pin(self, address: int, nbytes: int) -> bool:
        """Register; False where the device refuses, and frames are copied as before."""
        ...

    def unpin(self, address: int) -> None:
        """Undo it before the memory is unmapped."""
        ...


class SlotPins:
    """Implements capture's `SlotWatcher`: every slot area that exists is pinned by the detector that is in use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._areas: dict[int, int] = {}
        self._detector: PinsMemory | None = None

    def appeared(self, camera: str, address: int, length: int) -> None:  # noqa: ARG002 - as capture calls it
        """Frames will lie here."""
        with self._lock:
            self._areas[address] = length
            if self._detector is not None:
                self._detector.pin(address, length)

    def vanished(self, camera: str, address: int) -> None:  # noqa: ARG002 - as capture calls it
        """No frame lies here any more."""
        with self._lock:
            self._areas.pop(address, None)
            if self._detector is not None:
                self._detector.unpin(address)

    def serve(self, detector: object) -> None:
        """This detector is in use from now on; the one before unpins when it closes."""
        with self._lock:
            self._detector = detector if isinstance(detector, PinsMemory) else None
            if self._detector is not None:
                for address, length in self._areas.items():
                    self._detector.pin(address, length)
