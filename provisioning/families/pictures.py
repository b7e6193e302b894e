"""The picture on which an import shows that both graphs see the same."""

from __future__ import annotations

from pathlib import Path

from edged.core.types import Floats
from edged.cpu.preprocess import letterbox_image, to_network_input
from edged.demo.scene import Scene
from provisioning.data.pictures import read_picture

_STREET, _SECONDS = 7, 2.0  # a rendered street with people, and when


def shown_picture(image: Path | None, input_wh: tuple[int, int]) -> tuple[Floats, str]:
    """A picture as the daemon would give it to the network: (1, 3, H, W) float32 RGB of 0..1; and what it is.

    Args:
        image: a picture file; None for a rendered street.
        input_wh: network input (width, height), pixels.

    Raises:
        DataError: the file is no picture that can be read.
    """
    pixels = Scene(_STREET).frame(_SECONDS)[0] if image is None else read_picture(image)
    title = "a rendered street" if image is None else image.name
    canvas, _ = letterbox_image(pixels, input_wh)
    blob = to_network_input(canvas)
    return blob.reshape(1, *blob.shape[-3:]), title
