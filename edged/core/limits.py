"""Limits that decide what counts as a detection, shared by all backends so that they agree on each box."""

# No `from __future__ import annotations` here: pydantic before 2.10 resolves annotations in the subclass's module.

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

MAX_CANDIDATES = 8192  # boxes that enter NMS, the best by score; a frame of real objects has a few hundred
MOST_DETECTIONS = 1000  # the most that a configuration may ask for; the GPU reserves memory for them


@dataclass(frozen=True)
class ScoreLimits:
    """Limits on score, overlap and number of detections: keys of `[model]`, with their ranges and defaults.

    A configuration is checked against the ranges. Measurements may use 0, 1 and more than `MOST_DETECTIONS`.

    Attributes:
        confidence: a score must exceed it.
        iou: of boxes of one class that overlap more, the one with the highest score is kept.
        max_detections: most per frame.
    """

    confidence: Annotated[float, Interval(gt=0, lt=1)] = 0.25
    iou: Annotated[float, Interval(gt=0, le=1)] = 0.45
    max_detections: Annotated[int, Interval(ge=1, le=MOST_DETECTIONS)] = 300


MAX_DETECTIONS = ScoreLimits.max_detections  # as in YOLOv5
