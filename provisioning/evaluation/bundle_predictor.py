"""Runs a bundle over pictures, in the daemon's own detector."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone

from edged.core.types import Frame, FrameMeta, Pixels
from edged.cpu.detector import CpuDetector
from provisioning.evaluation.prediction import Prediction


class BundlePredictor:
    """A bundle in the daemon's CPU detector, so that the measurement is of what the daemon runs.

    Args:
        detector: opened with the thresholds to measure with.
    """

    def __init__(self, detector: CpuDetector) -> None:
        self._detector = detector

    def __call__(self, pictures: Sequence[Pixels]) -> list[Prediction]:
        """Predict as `Predictor` says, one picture at a time, so that the timings are those of a single frame."""
        found = []
        for sequence, picture in enumerate(pictures):
            meta = FrameMeta(
                camera="val",
                sequence=sequence,
                captured_at=datetime.now(timezone.utc),
                captured_ns=time.monotonic_ns(),
                size_wh=(picture.shape[1], picture.shape[0]),
            )
            self._detector.submit([Frame(meta, picture)])
            result = self._detector.collect()[0]
            timings = {
                "preprocess": result.timings["preprocess"],
                "inference": result.timings["inference"],
                "nms": result.timings["decode"] + result.timings["nms"],
            }
            found.append(Prediction(result.detections, timings))
        return found
