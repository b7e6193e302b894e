"""The stages around the model in C (`native.c`), compiled where a compiler was there when edged was installed.

Their results are equal to those of `preprocess`, `decode`, `nms` and `Letterbox.to_frame` to the last bit; those are
the reference, and run where nothing was compiled. After the model it is one call per frame: caches are cold then, and
a numpy call costs more than its arithmetic. A call releases the GIL.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int, c_int64, c_void_p
from functools import cache
from typing import Any

import numpy as np

from edged.core.decode import BOX_CHANNELS, GridDecode
from edged.core.letterbox import Letterbox
from edged.core.limits import MAX_CANDIDATES
from edged.core.types import Detections, Floats, Pixels, Thresholds
from edged.cpu.decode import class_flags
from edged.cpu.nms import LEAST_AREA
from edged.cpu.preprocess import UNIT, BySize

_MODULE = "edged.cpu._native"

logger = logging.getLogger(__name__)


class _Head(Structure):
    _fields_ = (
        ("values", c_void_p),
        ("anchor_wh", c_void_p),
        *((name, c_int64) for name in ("anchors", "classes", "rows", "columns")),
        ("stride", c_float),
    )


class _Fit(Structure):
    _fields_ = tuple((name, c_float * 2) for name in ("offset", "factor", "limit"))


class _Boxes(Structure):
    _fields_ = tuple((name, c_void_p) for name in ("xyxy", "score", "class_id"))


class _Work(Structure):
    _fields_ = (
        ("heads", POINTER(_Head)),
        ("head_count", c_int64),
        ("candidates", _Boxes),
        ("order", c_void_p),
        ("spare", c_void_p),
        ("kept", _Boxes),
        ("areas", c_void_p),
        ("kept_index", c_void_p),
    )


_Signature = tuple[Any, Sequence[Any]]
_PLANES: _Signature = (None, [c_void_p, c_int64, c_int64, c_float, *[c_void_p] * 3, c_int64])
_SCALE: _Signature = (None, [c_void_p, c_void_p, c_float, *[c_void_p] * 3, c_int64])
_CAN_SCALE: _Signature = (c_int, [])
_FINISH: _Signature = (
    c_int64,
    [c_void_p, c_void_p, c_float, c_void_p, c_float, c_float, c_int64, c_int64, c_void_p],
)
_FUNCTIONS = {"edged_planes": _PLANES, "edged_scale": _SCALE, "edged_can_scale": _CAN_SCALE, "edged_finish": _FINISH}


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions; None where they were not built."""
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        return None
    try:
        there = ctypes.CDLL(found.origin)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(there, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as exc:  # built for another machine or release
        logger.warning("the CPU detector runs without its machine code: %s; install edged again", exc)
        return None
    return there


def loaded() -> ctypes.CDLL:
    """The compiled functions.

    Raises:
        RuntimeError: they were not built.
    """
    there = library()
    if there is None:
        raise RuntimeError(f"{_MODULE} was not built")
    return there


def addresses(planes: Floats) -> tuple[int, int, int, int]:
    """Addresses of red, green and blue of (3, H, W) float32, and the distance between two rows, floats."""
    red, plane = planes.ctypes.data, planes.strides[0]
    return red, red + plane, red + 2 * plane, planes.strides[1] // planes.itemsize


class NativePlanes:
    """A `preprocess.Filler` for pictures that need no scaling.

    Args:
        planes: (3, H, W) float32, written by each call; contiguous rows.

    Raises:
        ValueError: rows are not contiguous.
    """

    def __init__(self, planes: Floats) -> None:
        if planes.strides[2] != planes.itemsize:
            raise ValueError(f"needs contiguous rows, got strides of {planes.strides}")
        self._shape = (*planes.shape[1:], planes.shape[0])
        self._planes = planes  # kept: its address is used below
        self._to = addresses(planes)
        self._fill = loaded().edged_planes

    def __call__(self, image: Pixels) -> None:
        """Write an (H, W, 3) uint8 BGR image to the planes as RGB in 0..1."""
        if image.shape != self._shape:
            raise ValueError(f"made for pictures of {self._shape}, got {image.shape}")
        image = np.ascontiguousarray(image)
        self._fill(image.ctypes.data, image.shape[1], image.shape[0], UNIT, *self._to)


class NativeFinisher:
    """A `stages.Finisher` of grid heads (decode, NMS, back to frame pixels) in one C call.

    Memory is allocated once, and again when `max_detections` changes.

    Args:
        heads: (C, H, W) float32 each, contiguous; read by each call.
        decode: of the model.

    Raises:
        ValueError: a head is not contiguous float32.
    """

    def __init__(self, heads: Sequence[Floats], decode: GridDecode) -> None:
        self._finish = loaded().edged_finish
        self._classes = heads[0].shape[0] // len(decode.anchors[0]) - BOX_CHANNELS
        sizes = [np.asarray(pairs, np.float32) for pairs in decode.anchors]
        self._pointed_to = [*heads, *sizes]
        described = [_described(*each) for each in zip(heads, sizes, decode.strides, strict=True)]
        self._heads = (_Head * len(described))(*described)
        cells = sum(head.anchors * head.rows * head.columns for head in described)
        self._candidates = _Columns(cells)
        self._order = np.empty((2, cells), np.int32)
        self._kept = _Columns(0)
        self._room = -1
        self._work = _Work()
        self._fits: BySize[_Fit] = BySize()
        self._decoded_ns = c_int64()

    def __call__(self, box: Letterbox, limits: Thresholds) -> tuple[Detections, int]:
        """Detections in the heads, in frame pixels, and when decode had ended (CLOCK_MONOTONIC, nanoseconds)."""
        fit = self._fits.get(box.source_wh) or self._fits.keep(box.source_wh, _fit(box))
        if limits.max_detections != self._room:
            self._make_room(limits.max_detections)
        flags = class_flags(limits.class_ids, self._classes) if limits.class_ids else None
        count = self._finish(
            byref(self._work),
            byref(fit),
            limits.confidence,
            None if flags is None else flags.ctypes.data,
            limits.iou,
            LEAST_AREA,
            MAX_CANDIDATES,
            self._room,
            byref(self._decoded_ns),
        )
        return self._kept.first(count), self._decoded_ns.value

    def _make_room(self, most: int) -> None:
        self._room = most
        self._kept = _Columns(most)
        self._areas, self._kept_index = np.empty(most, np.float32), np.empty(most, np.int32)
        order = self._order.ctypes.data
        self._work = _Work(
            heads=self._heads,
            head_count=len(self._heads),
            candidates=self._candidates.pointers(),
            order=order,
            spare=order + self._order.strides[0],
            kept=self._kept.pointers(),
            areas=self._areas.ctypes.data,
            kept_index=self._kept_index.ctypes.data,
        )


class _Columns:
    """Arrays for `room` boxes."""

    def __init__(self, room: int) -> None:
        self._xyxy = np.empty((room, 4), np.float32)
        self._score = np.empty(room, np.float32)
        self._class_id = np.empty(room, np.int32)

    def pointers(self) -> _Boxes:
        return _Boxes(self._xyxy.ctypes.data, self._score.ctypes.data, self._class_id.ctypes.data)

    def first(self, count: int) -> Detections:
        """A copy of the first `count` boxes."""
        return Detections(self._xyxy[:count].copy(), self._score[:count].copy(), self._class_id[:count].copy())


def _described(values: Floats, anchor_wh: Floats, stride: int) -> _Head:
    if values.dtype != np.float32 or not values.flags.c_contiguous:
        raise ValueError(f"needs contiguous float32 heads, got {values.dtype} of strides {values.strides}")
    channels, rows, columns = values.shape
    return _Head(
        values=values.ctypes.data,
        anchor_wh=anchor_wh.ctypes.data,
        anchors=len(anchor_wh),
        classes=channels // len(anchor_wh) - BOX_CHANNELS,
        rows=rows,
        columns=columns,
        stride=stride,
    )


def _fit(box: Letterbox) -> _Fit:
    offset, factor, limit = (array[:2].tolist() for array in box.way_back)
    return _Fit((c_float * 2)(*offset), (c_float * 2)(*factor), (c_float * 2)(*limit))
