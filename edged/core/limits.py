"""What counts as a detection: bounds that every backend shares, so that CPU and GPU cut off at the same box."""

# No `from __future__ import annotations` here: pydantic before 2.10 looks for inherited names in the heir's module.

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

MAX_CANDIDATES = 8192  # boxes that enter NMS, the best by score; a frame of real objects has a few hundred
MOST_DETECTIONS = 1000  # a configuration may ask for, at the start or by a reload: the GPU reserves room for them


@dataclass(frozen=True)
class ScoreLimits:
    """Which scores, overlaps and numbers a user asks for: keys of `[model]`, with their ranges and defaults.

    The ranges hold for what people write; measurements may go to the ends of 0..1 and beyond `MOST_DETECTIONS`.

    Attributes:
        confidence: 0..1, a score must exceed it.
        iou: 0..1, boxes of one class that overlap more are one object.
        max_detections: per frame.
    """

    confidence: Annotated[float, Interval(gt=0, lt=1)] = 0.25
    iou: Annotated[float, Interval(gt=0, le=1)] = 0.45
    max_detections: Annotated[int, Interval(ge=1, le=MOST_DETECTIONS)] = 300


MAX_DETECTIONS = ScoreLimits.max_detections  # as in YOLOv5
