"""The structures that host and kernels share, byte for byte, and the header of one batch."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edged.core.letterbox import Letterbox
from edged.core.nv12 import YuvCoding
from edged.core.types import Pixels, Thresholds

ALIGNMENT = 256  # bytes; cudaMalloc guarantees it, and coalesced access is fastest with it

LIMITS = np.dtype([("confidence", "<f4"), ("iou_threshold", "<f4"), ("max_detections", "<i4"), ("reserved", "<i4")])
FRAME_ENTRY = np.dtype(
    [
        ("pixels", "<u8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("resized_w", "<i4"),
        ("resized_h", "<i4"),
        ("pad_left", "<i4"),
        ("pad_top", "<i4"),
        ("to_frame_x", "<f4"),
        ("to_frame_y", "<f4"),
        ("chroma", "<u8"),
        ("luma_pitch", "<i4"),
        ("chroma_pitch", "<i4"),
        ("black", "<i4"),
        ("luma_gain", "<i4"),
        ("red_of_red", "<i4"),
        ("green_of_blue", "<i4"),
        ("green_of_red", "<i4"),
        ("blue_of_blue", "<i4"),
    ]
)
FOUND = np.dtype([("xyxy", "<f4", (4,)), ("confidence", "<f4"), ("class_id", "<i4")])


class PreprocessArgs(ctypes.Structure):
    """Arguments of the kernels in preprocess.cu, same layout."""

    _fields_ = (
        ("frames", ctypes.c_void_p),
        ("input", ctypes.c_void_p),
        ("network_w", ctypes.c_int),
        ("network_h", ctypes.c_int),
    )


class NmsArgs(ctypes.Structure):
    """Arguments of the kernels in nms.cu, same layout."""

    _fields_ = (
        ("limits", ctypes.c_void_p),
        ("frames", ctypes.c_void_p),
        ("count", ctypes.c_void_p),
        ("boxes", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("classes", ctypes.c_void_p),
        ("admitted", ctypes.c_void_p),
        ("listed_count", ctypes.c_void_p),
        ("listed", ctypes.c_void_p),
        ("ranked", ctypes.c_void_p),
        ("ranked_boxes", ctypes.c_void_p),
        ("ranked_scores", ctypes.c_void_p),
        ("ranked_classes", ctypes.c_void_p),
        ("found_count", ctypes.c_void_p),
        ("found", ctypes.c_void_p),
        ("cells", ctypes.c_int),
        ("num_classes", ctypes.c_int),
        ("capacity", ctypes.c_int),
    )


class RowsArgs(ctypes.Structure):
    """Arguments of the kernel in rows.cu, same layout."""

    _fields_ = (
        ("limits", ctypes.c_void_p),
        ("frames", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("admitted", ctypes.c_void_p),
        ("found_count", ctypes.c_void_p),
        ("found", ctypes.c_void_p),
        ("count", ctypes.c_int),
        ("num_classes", ctypes.c_int),
        ("capacity", ctypes.c_int),
    )


def aligned(nbytes: int) -> int:
    """`nbytes` rounded up to the alignment of device memory."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Nv12At:
    """Where an NV12 frame lies in device memory.

    Attributes:
        luma: address of (height, width) uint8.
        luma_pitch: bytes from one of its rows to the next.
        chroma: address of (ceil(height / 2), ceil(width / 2), 2) uint8, differences of blue and of red.
        chroma_pitch: bytes from one of its rows to the next.
        coding: what the numbers mean.
    """

    luma: int
    luma_pitch: int
    chroma: int
    chroma_pitch: int
    coding: YuvCoding

    @property
    def entry(self) -> tuple[int, ...]:
        """The fields of FRAME_ENTRY from `chroma` on."""
        return (self.chroma, self.luma_pitch, self.chroma_pitch, *self.coding.weights)


_BGR_ENTRY = (0,) * 9  # the same of a BGR frame


@dataclass(frozen=True, slots=True)
class Header:
    """Layout of a batch's header in its block: limits, admitted classes, frame table.

    Attributes:
        num_classes: of the model.
        max_batch: rows of the frame table.
    """

    num_classes: int
    max_batch: int

    @property
    def admitted(self) -> int:
        """Offset of (num_classes,) uint8."""
        return aligned(LIMITS.itemsize)

    @property
    def frames(self) -> int:
        """Offset of (max_batch,) FRAME_ENTRY."""
        return self.admitted + aligned(self.num_classes)

    @property
    def nbytes(self) -> int:
        """Size of the block, bytes."""
        return self.frames + self.max_batch * FRAME_ENTRY.itemsize

    def write(
        self, block: Pixels, thresholds: Thresholds, letterboxes: Sequence[Letterbox], pixels: Sequence[int | Nv12At]
    ) -> None:
        """Fill a block.

        Args:
            block: (nbytes,) uint8, overwritten.
            thresholds: for every frame of the batch.
            letterboxes: one per frame.
            pixels: device address of each frame's BGR pixels, (height, width, 3) uint8, or where its NV12 planes lie.
        """
        limits = block[: LIMITS.itemsize].view(LIMITS)
        limits[0] = (thresholds.confidence, thresholds.iou, thresholds.max_detections, 0)
        admitted = block[self.admitted : self.admitted + self.num_classes]
        admitted[:] = not thresholds.class_ids
        admitted[[class_id for class_id in thresholds.class_ids if 0 <= class_id < self.num_classes]] = 1
        table = block[self.frames : self.nbytes].view(FRAME_ENTRY)
        for row, (box, at) in enumerate(zip(letterboxes, pixels, strict=True)):
            scale_x, scale_y = box.scale
            address, rest = (at.luma, at.entry) if isinstance(at, Nv12At) else (at, _BGR_ENTRY)
            table[row] = (
                *(address, *box.source_wh, *box.resized_wh, box.pad_left, box.pad_top, 1 / scale_x, 1 / scale_y),
                *rest,
            )


@dataclass(frozen=True, slots=True)
class Results:
    """Layout of a batch's results in their block: counts, then `rows` per image, as many as the limit in force.

    So one copy brings back only what may be there, although memory is reserved for the largest limit.

    Attributes:
        max_batch: images.
        capacity: most detections per image, under any limit.
    """

    max_batch: int
    capacity: int

    @property
    def found(self) -> int:
        """Offset of (max_batch, rows) FOUND; the counts are at 0."""
        return aligned(self.max_batch * 4)

    def rows(self, max_detections: int) -> int:
        """Rows per image under a limit."""
        return min(self.capacity, max_detections)

    def nbytes(self, batch: int, rows: int) -> int:
        """Size of the results of `batch` images with `rows` each, bytes."""
        return self.found + batch * rows * FOUND.itemsize
