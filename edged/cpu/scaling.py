"""Scales a picture straight into the planes of the network's input, in C (`scale.c`).

The weights are those of OpenCV's `resize` with INTER_LINEAR on bytes (imgproc/src/resize.cpp): pixel centres are
mapped to each other, and weights between two source pixels are multiples of 1/2048.
"""

from __future__ import annotations

from ctypes import Structure, byref, c_int64, c_void_p

import numpy as np

from edged.core.letterbox import Letterbox
from edged.core.types import Floats, Ints, Pixels
from edged.cpu.native import addresses, loaded
from edged.cpu.preprocess import UNIT

_STEPS = np.float32(2048)
_ALL_OF_THE_FIRST = np.array([_STEPS, 0], np.int16)
_READ_BYTES = 8  # read at once for two neighbouring pixels
_CHANNELS = 3
_LANES = 4  # copies of a pixel's two weights in an AVX2 register


class _Scaling(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("source_width", "source_height", "width", "height")),
        ("column", c_void_p),
        ("across", c_void_p),
        ("whole", c_int64),
        *((name, c_void_p) for name in ("upper", "lower", "down", "scaled")),
    )


def suits(box: Letterbox) -> bool:
    """Whether `NativeScaler` is faster: there is AVX2, and OpenCV has no short cut (equal size, exact half)."""
    width, height = box.resized_wh
    return bool(loaded().edged_can_scale()) and box.source_wh not in ((width, height), (2 * width, 2 * height))


class NativeScaler:
    """Scales frames of one size into one place; a `preprocess.Filler`. One thread at a time.

    Args:
        box: of the frames.
        planes: (3, height, width) float32 of the scaled picture, RGB; contiguous rows.

    Raises:
        ValueError: another shape of `planes`, or rows are not contiguous.
    """

    def __init__(self, box: Letterbox, planes: Floats) -> None:
        (source_width, source_height), (width, height) = box.source_wh, box.resized_wh
        if planes.shape != (_CHANNELS, height, width) or planes.strides[2] != planes.itemsize:
            raise ValueError(f"needs planes of {box.resized_wh}, rows contiguous, got {planes.shape}")
        self._shape = (source_height, source_width, _CHANNELS)
        left, across = _weights(source_width, width)
        edge = (left < 0) | (left >= source_width - 1)  # beyond the outermost pixel centres there is no second pixel
        left, across = left.clip(0, source_width - 1), np.where(edge[:, None], _ALL_OF_THE_FIRST, across)
        upper, down = _weights(source_height, height)
        column = left * np.int32(_CHANNELS)
        self._arrays = [
            column,
            np.tile(across, (1, _LANES)),
            upper.clip(0, source_height - 1),
            (upper + np.int32(1)).clip(0, source_height - 1),
            np.ascontiguousarray(down),
            np.empty((2, _CHANNELS, width), np.int16),
        ]
        column_at, across_at, *others = (array.ctypes.data for array in self._arrays)
        whole = int(np.count_nonzero(column + _READ_BYTES <= _CHANNELS * source_width))
        self._scaling = _Scaling(source_width, source_height, width, height, column_at, across_at, whole, *others)
        self._planes = planes  # kept: its address is used below
        self._to = addresses(planes)
        self._scale = loaded().edged_scale

    def __call__(self, image: Pixels) -> None:
        """Write the planes from an (H, W, 3) uint8 BGR image of the frames' size."""
        if image.shape != self._shape:
            raise ValueError(f"made for pictures of {self._shape}, got {image.shape}")
        image = np.ascontiguousarray(image)
        self._scale(byref(self._scaling), image.ctypes.data, UNIT, *self._to)


def _weights(source: int, target: int) -> tuple[Ints, np.ndarray[tuple[int, int], np.dtype[np.int16]]]:
    """Per target pixel of an axis: first source pixel (target,) int32, weights of it and the next (target, 2) int16."""
    place = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    first = np.floor(place)
    second_share = place - first
    shares = np.stack([np.float32(1) - second_share, second_share], axis=1)
    return first.astype(np.int32), np.rint(shares * _STEPS).astype(np.int16)
