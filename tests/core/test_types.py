"""Values are checked where they are born."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import numpy as np
import pytest

from edged.core.types import Detections, Frame, FrameMeta, FrameResult


def meta(size_wh: tuple[int, int] = (4, 3)) -> FrameMeta:
    return FrameMeta("gate", 0, datetime.now(timezone.utc), time.monotonic_ns(), size_wh)


def test_frame_is_read_only_and_leaves_its_array_writable() -> None:
    pixels = np.zeros((3, 4, 3), np.uint8)
    frame = Frame(meta(), pixels)
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0, 0] = 1
    pixels[0, 0, 0] = 7
    assert frame.pixels[0, 0, 0] == 7


def test_frame_of_another_size_than_its_meta_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pixels must be \(3, 4, 3\) uint8, got \(4, 3, 3\) uint8"):
        Frame(meta(), np.zeros((4, 3, 3), np.uint8))


def test_meta_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        FrameMeta("gate", 0, datetime(2026, 1, 1), 0, (4, 3))  # noqa: DTZ001


def test_detections_name_what_they_got() -> None:
    with pytest.raises(TypeError, match=r"xyxy must be \(N, 4\) float32, got \(7, 5\) float64"):
        Detections(np.zeros((7, 5)), np.zeros(7, np.float32), np.zeros(7, np.int32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="confidence"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(2, np.int32))
    assert len(Detections.empty()) == 0


def test_result_without_its_timings_is_refused() -> None:
    with pytest.raises(ValueError, match=r"missing \['detect', 'total'\]"):
        FrameResult(meta(), Detections.empty(), {"waiting": 1.0})
