"""Shared memory for frames: made and sealed by the supervisor, written by the child.

A `memfd` has no name and lives as long as a process maps it, so nothing is left behind when one is killed. Its size
is sealed: a child that shrank it would crash the supervisor (SIGBUS).
"""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np

from edged.capture.boundary.messages import Area
from edged.core.types import Pixels

PAGE = mmap.PAGESIZE
MAX_SIDE = 1 << 16


class SlotArea:
    """The supervisor's side of one child's slots.

    Args:
        number: tells areas of one camera apart.
        count: number of slots.
        picture_bytes: least size of a slot.
    """

    def __init__(self, *, number: int, count: int, picture_bytes: int) -> None:
        slot_bytes = -(-picture_bytes // PAGE) * PAGE
        self.layout = Area(number=number, count=count, slot_bytes=slot_bytes)
        self.descriptor = os.memfd_create("edged-slots", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, count * slot_bytes)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
            self._bytes = _mapped(self.descriptor, self.layout)
        except BaseException:
            self.close_descriptor()
            raise
        self._views: dict[tuple[int, int, int], Pixels] = {}
        self.with_child = set(range(count))
        self.retired = False

    @property
    def address(self) -> int:
        """Where the memory starts in this process, page-aligned."""
        return int(self._bytes.ctypes.data)

    @property
    def length(self) -> int:
        """Size of the whole area, bytes."""
        return self.layout.count * self.layout.slot_bytes

    @property
    def idle(self) -> bool:
        """Every slot is with the child: no frame is waiting or taken."""
        return len(self.with_child) == self.layout.count

    def view(self, slot: int, size_wh: tuple[int, int]) -> Pixels:
        """(H, W, 3) uint8, read-only, of one slot."""
        key = (slot, *size_wh)
        view = self._views.get(key)
        if view is None:
            if len(self._views) > 4 * self.layout.count:  # the picture size changes again and again
                self._views.clear()
            view = _picture(self._bytes, self.layout, slot, size_wh)
            view.flags.writeable = False
            self._views[key] = view
        return view

    def close_descriptor(self) -> None:
        """Called once the child has it; the mapping stays as long as a view of it exists."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class SlotWindow:
    """The child's side of its slots. Closes `descriptor` once the memory is mapped.

    Raises:
        OSError: the memory cannot be mapped.
    """

    def __init__(self, descriptor: int, layout: Area) -> None:
        self.layout = layout
        try:
            self._bytes = _mapped(descriptor, layout)
        finally:
            os.close(descriptor)
        self.free = set(range(layout.count))
        self._views: dict[tuple[int, int, int], Pixels] = {}

    def view(self, slot: int, size_wh: tuple[int, int]) -> Pixels:
        """(H, W, 3) uint8, writable, of one slot."""
        key = (slot, *size_wh)
        if key not in self._views:
            if len(self._views) > 4 * self.layout.count:
                self._views.clear()
            self._views[key] = _picture(self._bytes, self.layout, slot, size_wh)
        return self._views[key]


def _mapped(descriptor: int, layout: Area) -> Pixels:
    # The mapping is the array's base: it is unmapped with the last view.
    return np.frombuffer(mmap.mmap(descriptor, layout.count * layout.slot_bytes), np.uint8)


def _picture(memory: Pixels, layout: Area, slot: int, size_wh: tuple[int, int]) -> Pixels:
    width, height = size_wh
    start = slot * layout.slot_bytes
    return memory[start : start + width * height * 3].reshape(height, width, 3)
