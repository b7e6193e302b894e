"""Frames on their way to the device: pinned where capture's memory could be, through a pinned ring where not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import numpy as np

from edged.core.errors import DetectorError
from edged.core.types import Frame, Pixels
from edged.gpu.errors import DeviceLost
from edged.gpu.layout import aligned
from edged.gpu.protocols import Gpu

logger = logging.getLogger(__name__)

_GROWTH = 1.25  # of the room for frames, at least


class PinnedRanges:
    """Host memory of others that the device reads directly. Safe from any thread.

    Args:
        gpu: pins it.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._lock = threading.Lock()
        self._bytes_at: dict[int, int] = {}
        self._refused = False

    def add(self, address: int, nbytes: int) -> bool:
        """Try to pin; where the device refuses, frames in that memory go through the ring. Whether it is pinned.

        Raises:
            DeviceLost: only a new process helps.
        """
        try:
            self._gpu.pin(address, nbytes)
        except DeviceLost:
            raise
        except DetectorError as exc:
            if not self._refused:
                logger.info("camera memory cannot be pinned, frames are copied once more: %s", exc)
            self._refused = True
            return False
        with self._lock:
            self._bytes_at[address] = nbytes
        return True

    def remove(self, address: int) -> None:
        """Unpin, before that memory is unmapped; nothing happens where it was not pinned."""
        with self._lock:
            known = self._bytes_at.pop(address, None)
        if known is not None:
            self._gpu.unpin(address)

    def holds(self, address: int, nbytes: int) -> bool:
        """Whether all of it is pinned."""
        with self._lock:
            return any(start <= address and address + nbytes <= start + n for start, n in self._bytes_at.items())


class Slot:
    """What one batch under way owns: its frames on the device, its header and its results on the host.

    Room for frames is made as they come, for all of a batch at once: nobody knows before which cameras there are, how
    large their pictures are and how many come together, and on a Jetson it is taken from everybody's memory. It never
    shrinks, so cameras of several sizes that take turns move nothing once their largest batch was there. It grows by a
    quarter at least: every growth waits for the device, and mixes of sizes would find a slightly larger batch again and
    again. The old memory is given back first, so that both are never there together; where so much is refused, what the
    batch needs is asked for, and where that is too much the slot is empty and a smaller batch may still find its room.

    Args:
        gpu: where.
        header_bytes: of the batch header.
        results_bytes: of the results of a full batch.
    """

    def __init__(self, gpu: Gpu, *, header_bytes: int, results_bytes: int) -> None:
        self._gpu = gpu
        self.header = gpu.allocate_pinned(header_bytes)
        self.results = gpu.allocate_pinned(results_bytes)
        self.uploaded = gpu.make_event()
        self.done = gpu.make_event()
        self.frames: tuple[Frame, ...] = ()
        self.submitted_ns = 0
        self.rows = 0  # of the results, an image
        self.device, self._capacity = 0, 0
        self._staging: Pixels | None = None

    def upload(self, frames: Sequence[Frame], pinned: PinnedRanges, stream: int) -> list[int]:
        """Put the frames' pixels on the stream; the device address of each.

        The slot must be idle. Memory is taken only for a batch larger than any before, never per frame.
        """
        offsets = np.cumsum([0, *(aligned(frame.pixels.nbytes) for frame in frames)]).tolist()
        self.reserve(offsets[-1])
        for frame, offset in zip(frames, offsets, strict=False):
            self._upload_one(frame.pixels, offset, pinned, stream)
        return [self.device + offset for offset in offsets[:-1]]

    def reserve(self, nbytes: int) -> None:
        """Make room for frames of so many bytes together, at `device`; what was there is lost."""
        if nbytes <= self._capacity:
            return
        wanted = max(nbytes, aligned(int(self._capacity * _GROWTH)))
        logger.debug("frame memory grows from %d to %d bytes a batch", self._capacity, wanted)
        freed, self.device, self._capacity = self.device, 0, 0  # should there be no memory, nobody uses the old
        if freed:
            self._gpu.free(freed)
        staging, self._staging = self._staging, None
        if staging is not None:
            self._gpu.free_pinned(staging)
        self.device, self._capacity = self._allocate(wanted, nbytes)

    def _allocate(self, wanted: int, needed: int) -> tuple[int, int]:
        """Memory of the wanted size, else of the needed one; its address and size."""
        try:
            return self._gpu.allocate(wanted), wanted
        except DeviceLost:
            raise
        except DetectorError:
            return self._gpu.allocate(needed), needed

    def _upload_one(self, pixels: Pixels, offset: int, pinned: PinnedRanges, stream: int) -> None:
        source = pixels.ctypes.data
        if not (pixels.flags.c_contiguous and pinned.holds(source, pixels.nbytes)):
            if self._staging is None:
                self._staging = self._gpu.allocate_pinned(self._capacity)
            staged = self._staging[offset : offset + pixels.nbytes]
            np.copyto(staged.reshape(pixels.shape), pixels)
            source = staged.ctypes.data
        self._gpu.upload(self.device + offset, source, pixels.nbytes, stream)
