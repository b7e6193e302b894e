"""What evaluation and verification ask of a model, whichever way it runs; needs no torch, which a device may lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edged.core.types import Detections, Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says of one picture.

    Attributes:
        detections: in the picture's pixels.
        timings: milliseconds: `preprocess`, `inference`, `nms` (decode included).
    """

    detections: Detections
    timings: Mapping[str, float]


class Predictor(Protocol):
    """Finds objects in pictures."""

    def __call__(self, pictures: Sequence[Pixels]) -> list[Prediction]:
        """One result a picture, in order; pictures are (H, W, 3) uint8 BGR of any sizes."""
        ...
