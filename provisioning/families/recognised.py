"""What an import gives, whatever family a graph is of, and what the caller may have to add."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from edged.core.decode import Decode

PixelName = Literal["rgb", "bgr255", "rgb255", "bgr-imagenet", "rgb-imagenet"]  # see `pixels.KNOWN`
PIXEL_NAMES: tuple[str, ...] = get_args(PixelName)
COCO_NAMES, COCO_91_NAMES = "coco", "coco91"  # what `--names` takes beside a file
_UNUSED = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # numbers of 0 to 90 that no category of COCO has
_COCO_FILE = Path(__file__).with_name("coco.json")


@dataclass(frozen=True, slots=True)
class Hints:
    """What a file cannot tell.

    Attributes:
        pixels: name of the preprocessing (`pixels.KNOWN`); empty for that of the family.
        image: a picture to show that original and rewritten graph see the same; None for a rendered street.
    """

    pixels: str = ""
    image: Path | None = None


NO_HINTS = Hints()


@dataclass(frozen=True, slots=True)
class Recognised:
    """A detector, rewritten for the daemon.

    Attributes:
        onnx: content of the ONNX file: `images` -> the outputs of `decode`, free batch size.
        names: class names, by class id.
        decode: what the outputs mean.
        input_wh: network input (width, height), pixels.
        architecture: as people call it.
        licence: as the file or the family says; empty if neither does.
        facts: for the manifest's provenance.
    """

    onnx: bytes
    names: tuple[str, ...]
    decode: Decode
    input_wh: tuple[int, int]
    architecture: str
    licence: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@cache
def coco_names() -> tuple[str, ...]:
    """The 80 classes of COCO, by class id."""
    return tuple(json.loads(_COCO_FILE.read_text(encoding="utf-8")))


@cache
def coco_91_names() -> tuple[str, ...]:
    """COCO's categories by their own numbers, 0 to 90, as some of the DETR family give them; unused ones say so."""
    used = iter(coco_names())
    return tuple(f"unused-{number}" if number in _UNUSED else next(used) for number in range(91))
