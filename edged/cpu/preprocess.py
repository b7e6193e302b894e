"""Frame pixels to network input: letterbox, BGR to RGB, 0..1, planes. The only definition, also for training."""

from __future__ import annotations

from typing import Protocol, TypeVar

import cv2
import numpy as np

from edged.core.letterbox import PAD_GREY, Letterbox
from edged.core.types import Floats, Pixels

T = TypeVar("T")
UNIT = np.float32(1 / 255)
SIZES = 8  # frame sizes that are kept ready; with more in turn each change is set up again


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


class Filler(Protocol):
    """Writes frames of one size to one place in the network's input. Keeps scratch memory: one thread at a time."""

    def __call__(self, image: Pixels) -> None:
        """Scale an (H, W, 3) uint8 BGR image of that size (bilinear) and write it as float32 RGB in 0..1."""


class FillerFactory(Protocol):
    """Makes a `Filler`."""

    def __call__(self, box: Letterbox, planes: Floats) -> Filler:
        """For frames of `box.source_wh` and (3, height, width) float32 `planes` with contiguous rows."""


class NumpyPlanes:
    """A `Filler` for pictures that need no scaling, with OpenCV and numpy.

    Args:
        planes: (3, H, W) float32, written by each call.
    """

    def __init__(self, planes: Floats) -> None:
        self._to = planes
        self._planes = [np.empty(planes.shape[1:], np.uint8) for _ in range(3)]

    def __call__(self, image: Pixels) -> None:
        """Write an (H, W, 3) uint8 BGR image to the planes as RGB in 0..1."""
        cv2.split(image, self._planes)
        for channel, plane in zip(self._to, reversed(self._planes), strict=True):  # BGR planes, last first
            np.copyto(channel, plane)  # one call that converts and scales would be slower: numpy buffers it
            np.multiply(channel, UNIT, out=channel)


class ScaledFirst:
    """A `Filler` that scales with OpenCV into a buffer that stays in the cache, and then calls another filler.

    Args:
        box: of the frames.
        planes: writes the scaled picture to the input.
    """

    def __init__(self, box: Letterbox, planes: Filler) -> None:
        width, height = box.resized_wh
        self._box = box
        self._resized: Pixels = np.empty((height, width, 3), np.uint8)
        self._planes = planes

    def __call__(self, image: Pixels) -> None:
        """Scale an (H, W, 3) uint8 BGR image of `box.source_wh` and write it."""
        self._planes(_scaled(image, self._box, self._resized))


def numpy_filler(box: Letterbox, planes: Floats) -> Filler:
    """A `FillerFactory` with OpenCV and numpy."""
    return after_scaling(box, NumpyPlanes(planes))


def after_scaling(box: Letterbox, planes: Filler) -> Filler:
    """`planes`, with scaling by OpenCV before it where sizes differ."""
    return planes if box.resized_wh == box.source_wh else ScaledFirst(box, planes)


class BySize(dict[tuple[int, int], T]):
    """A small cache by frame size (width, height)."""

    def keep(self, size: tuple[int, int], value: T) -> T:
        """Add a value and return it; empties the cache first where it holds `SIZES`."""
        if len(self) >= SIZES:
            self.clear()
        self[size] = value
        return value


class Preprocessor:
    """The same as `to_network_input(letterbox_image(...))`, writing into one input buffer without allocations.

    Frames of several sizes may come in turn: their setup is cached, and the grey border is written only if the picture
    before had another place. One thread at a time.

    Args:
        network_wh: width and height of the network's input, pixels.
        filler: makes the `Filler` for each frame size.

    Attributes:
        blob: (1, 3, H, W) float32, RGB in 0..1: the input of the last frame. Overwritten by the next.
    """

    def __init__(self, network_wh: tuple[int, int], *, filler: FillerFactory = numpy_filler) -> None:
        self._network_wh = network_wh
        self._filler = filler
        self._fits: BySize[tuple[Letterbox, Filler]] = BySize()
        self._area = (0, 0, 0, 0)  # left, top, width, height of the last picture in the input
        self.blob: Floats = np.full((1, 3, network_wh[1], network_wh[0]), PAD_GREY * UNIT, np.float32)

    def __call__(self, image: Pixels) -> Letterbox:
        """Fill `blob` from an (H, W, 3) uint8 BGR image; returns where the picture lies in it."""
        size = (image.shape[1], image.shape[0])
        box, fill = self._fits.get(size) or self._fit(size)
        area = (box.pad_left, box.pad_top, *box.resized_wh)
        if area != self._area:
            self._write_border(*area)
            self._area = area
        fill(image)
        return box

    def _fit(self, size: tuple[int, int]) -> tuple[Letterbox, Filler]:
        box = Letterbox.fit(size, self._network_wh)
        width, height = box.resized_wh
        picture = self.blob[0, :, box.pad_top : box.pad_top + height, box.pad_left : box.pad_left + width]
        return self._fits.keep(size, (box, self._filler(box, picture)))

    def _write_border(self, left: int, top: int, width: int, height: int) -> None:
        planes = self.blob[0]
        within = slice(top, top + height)
        for part in (
            planes[:, :top],
            planes[:, top + height :],
            planes[:, within, :left],
            planes[:, within, left + width :],
        ):
            part.fill(PAD_GREY * UNIT)


def _scaled(image: Pixels, box: Letterbox, into: Pixels | None = None) -> Pixels:
    resized: Pixels = cv2.resize(image, box.resized_wh, into, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return resized
