"""NV12 pictures for the kernels' tests, what the kernel makes of them and what it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edged.core.letterbox import Letterbox
from edged.core.nv12 import Matrix, YuvCoding
from edged.core.types import Pixels, Thresholds
from edged.cpu.preprocess import to_network_input
from edged.gpu.layout import Header, Nv12At
from edged.gpu.stages import preprocess_launch
from tests.bilinear import letterboxed
from tests.gpu.ground import Ground

Array = np.ndarray[Any, Any]
MATRICES: tuple[Matrix, ...] = ("bt601", "bt709")
CODINGS = [YuvCoding(matrix, full_range=full) for matrix in MATRICES for full in (False, True)]


@dataclass(frozen=True)
class Nv12:
    """A picture: (h, w) luma, (ceil(h / 2), ceil(w / 2), 2) differences, and how it is coded."""

    luma: Pixels
    chroma: Pixels
    coding: YuvCoding

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.luma.shape[1], self.luma.shape[0]


def noise(width: int, height: int, coding: YuvCoding = CODINGS[0], *, seed: int = 0, brightest: int = 255) -> Nv12:
    """Noise, most of it outside the colours that RGB can show."""
    rng = np.random.default_rng(seed)
    chroma = rng.integers(0, 256, (-(-height // 2), -(-width // 2), 2), np.uint8)
    return Nv12(rng.integers(0, brightest + 1, (height, width), np.uint8), chroma, coding)


def padded(rows: Pixels, pitch: int) -> Pixels:
    """Rows of `pitch` bytes, noise behind each; the last has none, as a decoder's buffer may end there."""
    flat = rows.reshape(rows.shape[0], -1)
    wide = np.random.default_rng(9).integers(0, 256, (flat.shape[0], pitch), np.uint8)
    wide[:, : flat.shape[1]] = flat
    return wide.reshape(-1)[: pitch * (flat.shape[0] - 1) + flat.shape[1]]


def run_preprocess(
    images: Sequence[Nv12 | Pixels], network_wh: tuple[int, int], *, on: Ground, half: bool = False, spare: int = 0
) -> Array:
    """Both entries over one batch, in rows that are `spare` bytes longer than their pixels."""
    header = Header(num_classes=1, max_batch=len(images))
    block = on.array(np.zeros(header.nbytes, np.uint8))
    sizes = [image.size_wh if isinstance(image, Nv12) else (image.shape[1], image.shape[0]) for image in images]
    held: list[Array] = []  # the table has addresses only

    def placed(image: Nv12 | Pixels) -> int | Nv12At:
        if not isinstance(image, Nv12):
            held.append(on.array(image))
            return held[-1].ctypes.data
        pitches = image.luma.shape[1] + spare, image.chroma.shape[1] * 2 + spare
        held.extend(
            on.array(padded(rows, pitch)) for rows, pitch in zip((image.luma, image.chroma), pitches, strict=True)
        )
        return Nv12At(held[-2].ctypes.data, pitches[0], held[-1].ctypes.data, pitches[1], image.coding)

    header.write(block, Thresholds(), [Letterbox.fit(wh, network_wh) for wh in sizes], [placed(one) for one in images])
    out = on.array(np.full((len(images), 3, network_wh[1], network_wh[0]), np.nan, np.float16 if half else np.float32))
    for nv12 in (False, True):
        launch = preprocess_launch(
            frames=block.ctypes.data + header.frames,
            network_input=out.ctypes.data,
            network_wh=network_wh,
            batch=len(images),
            half=half,
            nv12=nv12,
        )
        on.run(launch)
    return out


def by_definition(image: Nv12) -> Pixels:
    """(h, w, 3) uint8 BGR by the formulas of BT.601 and BT.709, in float."""
    width, height = image.size_wh
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[image.coding.matrix]
    u, v = np.moveaxis(image.chroma.repeat(2, 0).repeat(2, 1)[:height, :width] / 1.0 - 128, -1, 0)
    y = image.luma / 1.0
    if not image.coding.full_range:
        y, u, v = (y - 16) / 219 * 255, u / 224 * 255, v / 224 * 255
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    bgr: Pixels = np.rint(np.stack([blue, green, red], -1)).clip(0, 255).astype(np.uint8)
    return bgr


def on_cpu(bgr: Pixels, network_wh: tuple[int, int]) -> Array:
    return to_network_input(letterboxed(bgr, network_wh))


def grey_levels_apart(got: Array, wanted: Array) -> float:
    return float(np.abs(got - wanted).max() * 255)
