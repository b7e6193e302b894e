"""The interface of a model for evaluation and verification. It does not import torch, which a device may lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edged.core.types import Detections, Pixels

VAL_CONFIDENCE = 0.001
VAL_IOU = 0.6
VAL_DETECTIONS = 300


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model finds in one picture.

    Attributes:
        detections: in the picture's pixels.
        timings: milliseconds: `preprocess`, `inference`, `nms` (decode included).
    """

    detections: Detections
    timings: Mapping[str, float]


class Predictor(Protocol):
    """Finds objects in pictures."""

    def __call__(self, pictures: Sequence[Pixels]) -> list[Prediction]:
        """One result for each picture, in the same order; pictures are (H, W, 3) uint8 BGR of any sizes."""
        ...
