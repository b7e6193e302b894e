"""Frame pixels to network input: letterbox, BGR to RGB, 0..1, planes. The one definition of it, training included."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from edged.core.letterbox import PAD_GREY, Letterbox
from edged.core.types import Floats, Pixels

UNIT = np.float32(1 / 255)


def letterbox_image(image: Pixels, network_wh: tuple[int, int]) -> tuple[Pixels, Letterbox]:
    """Scale to fit (bilinear), centre, pad with grey 114.

    Args:
        image: (H, W, 3) uint8, BGR.
        network_wh: width and height of the network's input, pixels.

    Returns:
        (network height, network width, 3) uint8 BGR, and where the picture lies in it.
    """
    box = Letterbox.fit((image.shape[1], image.shape[0]), network_wh)
    canvas = np.full((network_wh[1], network_wh[0], 3), PAD_GREY, np.uint8)
    width, height = box.resized_wh
    area = canvas[box.pad_top : box.pad_top + height, box.pad_left : box.pad_left + width]
    area[:] = image if box.resized_wh == box.source_wh else _scaled(image, box)
    return canvas, box


def to_network_input(canvas: Pixels) -> Floats:
    """(H, W, 3) uint8 BGR -> (3, H, W) float32 RGB in 0..1."""
    planes: Floats = np.multiply(canvas[:, :, ::-1].transpose(2, 0, 1), UNIT, dtype=np.float32)
    return planes


class PlaneFiller:
    """(H, W, 3) uint8 BGR -> (3, H, W) float32 RGB in 0..1, in place. Keeps scratch memory; one thread at a time."""

    def __init__(self) -> None:
        self._planes: list[Pixels] = []

    def __call__(self, image: Pixels, planes: Floats) -> None:
        """Write `planes`, whose rows are contiguous, from a picture of their size."""
        if not self._planes or self._planes[0].shape != image.shape[:2]:
            self._planes = [np.empty(image.shape[:2], np.uint8) for _ in range(3)]
        cv2.split(image, self._planes)
        for channel, plane in zip(planes, reversed(self._planes), strict=True):  # BGR planes, last first
            np.copyto(channel, plane)  # converting and scaling in one call goes through numpy's small buffers: slower
            np.multiply(channel, UNIT, out=channel)


class Preprocessor:
    """The same as `to_network_input(letterbox_image(...))`, writing into one input buffer without allocations.

    Every step writes into memory that the last frame of this size has left in the cache, and the grey border is written
    only when the frame size changes. One thread at a time.

    Args:
        network_wh: width and height of the network's input, pixels.
        fill: writes the planes, as `PlaneFiller` does.

    Attributes:
        blob: (1, 3, H, W) float32, RGB in 0..1: the input of the last frame. Overwritten by the next.
    """

    def __init__(self, network_wh: tuple[int, int], *, fill: Callable[[Pixels, Floats], None] | None = None) -> None:
        self._network_wh = network_wh
        self._fill = fill or PlaneFiller()
        self._letterbox: Letterbox | None = None
        self._resized: Pixels = np.empty((0, 0, 3), np.uint8)
        self._picture: Floats = np.empty((0, 0, 0), np.float32)
        self.blob: Floats = np.empty((1, 3, network_wh[1], network_wh[0]), np.float32)

    def __call__(self, image: Pixels) -> Letterbox:
        """Fill `blob` from an (H, W, 3) uint8 BGR image; returns where the picture lies in it."""
        box = self._letterbox
        if box is None or box.source_wh != (image.shape[1], image.shape[0]):
            box = self._fit(image)
        if box.resized_wh != box.source_wh:
            image = _scaled(image, box, self._resized)
        self._fill(image, self._picture)
        return box

    def _fit(self, image: Pixels) -> Letterbox:
        box = Letterbox.fit((image.shape[1], image.shape[0]), self._network_wh)
        width, height = box.resized_wh
        self._resized = np.empty((height, width, 3), np.uint8)
        self.blob.fill(PAD_GREY * UNIT)
        self._picture = self.blob[0, :, box.pad_top : box.pad_top + height, box.pad_left : box.pad_left + width]
        self._letterbox = box
        return box


def _scaled(image: Pixels, box: Letterbox, into: Pixels | None = None) -> Pixels:
    resized: Pixels = cv2.resize(image, box.resized_wh, into, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return resized
