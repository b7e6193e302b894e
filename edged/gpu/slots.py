"""Uploads frames to the device: straight from capture's memory where that is pinned, else through a pinned buffer."""

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

_GROWTH = 1.25  # least growth of the memory for frames


class PinnedRanges:
    """Pinned host memory of other owners, which the device reads directly. Safe from any thread.

    Args:
        gpu: pins it.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._lock = threading.Lock()
        self._bytes_at: dict[int, int] = {}
        self._refused = False

    def add(self, address: int, nbytes: int) -> bool:
        """Try to pin; returns whether it is pinned. If not, frames in that memory are copied to a pinned buffer first.

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
        """Unpin, before that memory is unmapped; does nothing if it was not pinned."""
        with self._lock:
            known = self._bytes_at.pop(address, None)
        if known is not None:
            self._gpu.unpin(address)

    def holds(self, address: int, nbytes: int) -> bool:
        """Whether the whole range is pinned."""
        with self._lock:
            return any(start <= address and address + nbytes <= start + n for start, n in self._bytes_at.items())


class Slot:
    """The memory of one batch under way: its frames on the device, its header and its results on the host.

    Memory for frames is allocated when a batch needs it: which sizes come together is not known before, and on a Jetson
    it is system memory. It never shrinks, and grows by a quarter at least: each growth waits for the device, and mixed
    sizes would give a slightly larger batch again and again. The old memory is freed first, so that both never exist
    together. If the device refuses that much, only what the batch needs is requested; if that is refused, too, the slot
    is empty, and a smaller batch may still succeed.

    Args:
        gpu: the device.
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
        self.rows = 0  # of the results, per image
        self.device, self._capacity = 0, 0
        self._staging: Pixels | None = None

    def upload(self, frames: Sequence[Frame], pinned: PinnedRanges, stream: int) -> list[int]:
        """Upload the frames' pixels on the stream; returns the device address of each.

        The slot must be idle. Memory is allocated only for a batch larger than any before, never per frame.
        """
        offsets = np.cumsum([0, *(aligned(frame.pixels.nbytes) for frame in frames)]).tolist()
        self.reserve(offsets[-1])
        for frame, offset in zip(frames, offsets, strict=False):
            self._upload_one(frame.pixels, offset, pinned, stream)
        return [self.device + offset for offset in offsets[:-1]]

    def reserve(self, nbytes: int) -> None:
        """Allocate memory for `nbytes` of frames at `device`, if there is less; the old content is lost.

        Raises:
            DetectorError: there is not enough memory.
        """
        if nbytes <= self._capacity:
            return
        wanted = max(nbytes, aligned(int(self._capacity * _GROWTH)))
        logger.debug("frame memory grows from %d to %d bytes a batch", self._capacity, wanted)
        freed, self.device, self._capacity = self.device, 0, 0  # if allocation fails, the old address must not be used
        if freed:
            self._gpu.free(freed)
        staging, self._staging = self._staging, None
        if staging is not None:
            self._gpu.free_pinned(staging)
        self.device, self._capacity = self._allocate(wanted, nbytes)

    def _allocate(self, wanted: int, needed: int) -> tuple[int, int]:
        """Allocate the wanted size, else the needed one; returns address and size."""
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
