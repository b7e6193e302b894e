"""OpenCV's `resize` with INTER_LINEAR on bytes, in numpy: what it computes on x86 (imgproc/src/resize.cpp).

On ARM OpenCV has other code for it, which rounds in another way: up to two grey levels apart, and half a level brighter
on average where a picture is halved. So it is no reference there.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from edged.core.letterbox import PAD_GREY, Letterbox
from edged.core.types import Pixels

OPENCV_IS_THE_REFERENCE = platform.machine() in {"x86_64", "AMD64"}
_Array = np.ndarray[Any, Any]


def letterboxed(image: Pixels, network_wh: tuple[int, int]) -> Pixels:
    """As `letterbox_image`, scaled by this module."""
    box = Letterbox.fit((image.shape[1], image.shape[0]), network_wh)
    width, height = box.resized_wh
    canvas = np.full((network_wh[1], network_wh[0], 3), PAD_GREY, np.uint8)
    canvas[box.pad_top : box.pad_top + height, box.pad_left : box.pad_left + width] = scaled(image, box.resized_wh)
    return canvas


def scaled(image: Pixels, size_wh: tuple[int, int]) -> Pixels:
    """(H, W, C) uint8 -> (height, width, C) uint8."""
    (height, width), (wide, high) = image.shape[:2], size_wh
    pixels = image.astype(np.int32)
    if (width, height) == (wide, high):
        return image
    if (width, height) == (2 * wide, 2 * high):  # the mean of four
        halves: Pixels = ((pixels.reshape(high, 2, wide, 2, -1).sum(axis=(1, 3)) + 2) >> 2).astype(np.uint8)
        return halves
    left, right_weight = _places(width, wide)
    outside = (left < 0) | (left >= width - 1)
    left, right_weight = left.clip(0, width - 1), np.where(outside, np.float32(0), right_weight)
    first, second = _weights(right_weight)
    right = (left + 1).clip(max=width - 1)
    across = (pixels[:, left] * first[:, None] + pixels[:, right] * second[:, None]) >> 4
    upper, lower_weight = _places(height, high)
    first, second = _weights(lower_weight)
    above, below = across[upper.clip(0, height - 1)], across[(upper + 1).clip(0, height - 1)]
    summed = ((above * first[:, None, None]) >> 16) + ((below * second[:, None, None]) >> 16)
    result: Pixels = ((summed + 2) >> 2).astype(np.uint8)
    return result


def _places(source: int, target: int) -> tuple[_Array, _Array]:
    """Of each target pixel: the source pixel before its centre, and how far it lies towards the next, 0..1."""
    centre = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    before = np.floor(centre)
    return before.astype(np.int64), centre - before


def _weights(towards: _Array) -> tuple[_Array, _Array]:
    """Of the two pixels, in steps of 1/2048."""
    steps = np.float32(2048)
    return np.rint((1 - towards) * steps).astype(np.int32), np.rint(towards * steps).astype(np.int32)
