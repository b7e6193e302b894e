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

FIRST_FRAME_BYTES = 1920 * 1080 * 3  # room made for each frame of a batch at the start; larger pictures make more


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

    Args:
        gpu: where.
        max_batch: frames.
        header_bytes: of the batch header.
        results_bytes: of the results of a full batch.
    """

    def __init__(self, gpu: Gpu, *, max_batch: int, header_bytes: int, results_bytes: int) -> None:
        self._gpu = gpu
        self.header = gpu.allocate_pinned(header_bytes)
        self.results = gpu.allocate_pinned(results_bytes)
        self.uploaded = gpu.make_event()
        self.done = gpu.make_event()
        self.frames: tuple[Frame, ...] = ()
        self.submitted_ns = 0
        self.rows = 0  # of the results, an image
        self._capacity = aligned(FIRST_FRAME_BYTES) * max_batch
        self.device = gpu.allocate(self._capacity)
        self._staging: Pixels | None = None

    def upload(self, frames: Sequence[Frame], pinned: PinnedRanges, stream: int) -> list[int]:
        """Put the frames' pixels on the stream; the device address of each.

        The slot must be idle. Memory is taken only for a batch larger than any before, never per frame.
        """
        offsets = np.cumsum([0, *(aligned(frame.pixels.nbytes) for frame in frames)]).tolist()
        self._reserve(offsets[-1])
        for frame, offset in zip(frames, offsets, strict=False):
            self._upload_one(frame.pixels, offset, pinned, stream)
        return [self.device + offset for offset in offsets[:-1]]

    def _upload_one(self, pixels: Pixels, offset: int, pinned: PinnedRanges, stream: int) -> None:
        source = pixels.ctypes.data
        if not (pixels.flags.c_contiguous and pinned.holds(source, pixels.nbytes)):
            if self._staging is None:
                self._staging = self._gpu.allocate_pinned(self._capacity)
            staged = self._staging[offset : offset + pixels.nbytes]
            np.copyto(staged.reshape(pixels.shape), pixels)
            source = staged.ctypes.data
        self._gpu.upload(self.device + offset, source, pixels.nbytes, stream)

    def _reserve(self, nbytes: int) -> None:
        if nbytes <= self._capacity:
            return
        logger.info("frame memory grows from %d to %d bytes a batch", self._capacity, nbytes)
        freed, self.device, self._capacity = self.device, 0, 0  # should there be no memory, nobody uses the old
        if freed:
            self._gpu.free(freed)
        staging, self._staging = self._staging, None
        if staging is not None:
            self._gpu.free_pinned(staging)
        self.device = self._gpu.allocate(nbytes)
        self._capacity = nbytes
