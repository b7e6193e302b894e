"""Frames, and the CPU's detections, for tests of the GPU detector; its fixtures are in conftest.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone

import cv2
import numpy as np

from edged.core.bundle import Bundle
from edged.core.protocols import TunableDetector
from edged.core.types import Detections, Frame, FrameMeta, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from edged.gpu.detector import GpuDetector
from tests.handmade import draw_square

Build = Callable[..., GpuDetector]


def frame(pixels: Pixels, *, sequence: int = 0) -> Frame:
    size_wh = (pixels.shape[1], pixels.shape[0])
    return Frame(FrameMeta("cam", sequence, datetime.now(timezone.utc), 1, size_wh), pixels)


def scene(seed: int, size_wh: tuple[int, int] = (320, 320)) -> Pixels:
    """Coloured squares where the hand-made model sees them, on a dim noise."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (320, 320, 3), np.uint8)
    for _ in range(4):
        left, top = (int(place) * 16 + 8 for place in rng.integers(0, 15, 2))
        draw_square(image, str(rng.choice(["red", "green", "blue"])), left, top)
    return (
        image if size_wh == (320, 320) else cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    )


def on_cpu(bundle: Bundle, frames: Sequence[Frame], thresholds: Thresholds | None = None) -> list[Detections]:
    detector = CpuDetector(bundle, thresholds=thresholds or Thresholds(), threads=1)
    try:
        return [detect(detector, [one])[0] for one in frames]
    finally:
        detector.close()


def detect(detector: TunableDetector, frames: Sequence[Frame]) -> list[Detections]:
    detector.submit(frames)
    return [result.detections for result in detector.collect()]


def require_equal(got: Sequence[Detections], wanted: Sequence[Detections]) -> None:
    assert [len(one) for one in got] == [len(one) for one in wanted]
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one.class_id, other.class_id)
        np.testing.assert_allclose(one.confidence, other.confidence, rtol=1e-6)  # ONNX Runtime's batches differ so far
        np.testing.assert_allclose(one.xyxy, other.xyxy, rtol=1e-6, atol=1e-4)
