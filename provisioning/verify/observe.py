"""Runs pictures through a detector, one at a time; records the boxes and the time of each stage."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edged.core.protocols import TunableDetector
from edged.core.types import Detections, Frame, FrameMeta, Pixels, Thresholds

SERVICE = Thresholds()  # the daemon's defaults
METRICS = Thresholds(confidence=0.001, iou=0.6, max_detections=300)  # as usual for measuring average precision


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a detector found in some pictures, and what that took.

    Attributes:
        detections: of each picture, in its pixels.
        timings_ms: median milliseconds per frame, by stage.
        memory_bytes: resident memory of this process after the last picture.
    """

    detections: tuple[Detections, ...]
    timings_ms: Mapping[str, float]
    memory_bytes: int


def observe(
    detector: TunableDetector, pictures: Iterable[Pixels], *, limits: Thresholds, label: str, total: int
) -> Observation:
    """Run the detector on every picture.

    Args:
        detector: its thresholds are set to `limits` and stay so.
        pictures: (H, W, 3) uint8 BGR, any sizes.
        limits: confidence, IoU of NMS and number of boxes.
        label: for the progress bar.
        total: how many pictures, for the progress bar.

    Raises:
        DetectorError: the device or the model failed.
    """
    detector.thresholds = limits
    found: list[Detections] = []
    times: dict[str, list[float]] = {}
    for sequence, pixels in enumerate(tqdm(pictures, total=total, desc=label, unit="frame", disable=None)):
        detector.submit([_frame(pixels, sequence)])
        result = detector.collect()[0]
        found.append(result.detections)
        for stage, milliseconds in result.timings.items():
            times.setdefault(stage, []).append(milliseconds)
    medians = {stage: round(float(np.median(values)), 3) for stage, values in times.items() if stage != "waiting"}
    return Observation(tuple(found), medians, resident_bytes())


def resident_bytes() -> int:
    """Resident memory of this process, bytes."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _frame(pixels: Pixels, sequence: int) -> Frame:
    meta = FrameMeta(
        camera="verify",
        sequence=sequence,
        captured_at=datetime.now(timezone.utc),
        captured_ns=time.monotonic_ns(),
        size_wh=(pixels.shape[1], pixels.shape[0]),
    )
    return Frame(meta, pixels)
