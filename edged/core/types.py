"""The values that flow through the pipeline: frozen, complete, and checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from edged.core.limits import ScoreLimits

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def require_array(name: str, value: object, dtype: type[np.generic], shape: tuple[int | None, ...]) -> None:
    """Raise unless `value` is an array of `dtype` whose shape matches; None matches any length.

    Raises:
        TypeError: not an array, or another dtype.
        ValueError: another shape.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(_misfit(name, dtype, shape, type(value).__name__))
    if not (value.dtype.type is dtype and value.dtype.isnative):
        raise TypeError(_misfit(name, dtype, shape, f"{value.shape} {value.dtype}"))
    if not (value.shape == shape or _fits(value.shape, shape)):
        raise ValueError(_misfit(name, dtype, shape, f"{value.shape} {value.dtype}"))


def _fits(got: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(got) == len(shape) and all(n is None or n == m for n, m in zip(shape, got, strict=True))


def _misfit(name: str, dtype: type[np.generic], shape: tuple[int | None, ...], got: str) -> str:
    wanted = ", ".join("N" if n is None else str(n) for n in shape)
    return f"{name} must be ({wanted}) {np.dtype(dtype)}, got {got}"


@dataclass(frozen=True, slots=True)
class FrameMeta:
    """Where and when a frame was captured.

    Attributes:
        camera: the camera's configured name.
        sequence: number of the frame within this camera since the daemon started it, from 0; gaps are drops.
        captured_at: wall clock at the grab, UTC.
        captured_ns: CLOCK_MONOTONIC at the grab, nanoseconds; for durations only.
        size_wh: width and height, pixels.
    """

    camera: str
    sequence: int
    captured_at: datetime
    captured_ns: int
    size_wh: tuple[int, int]

    def __post_init__(self) -> None:
        if self.sequence < 0:
            raise ValueError(f"sequence must be >= 0, got {self.sequence}")
        if self.captured_at.utcoffset() is None:
            raise ValueError(f"captured_at must carry a time zone (UTC), got {self.captured_at!r}")
        if min(self.size_wh) < 1:
            raise ValueError(f"size_wh must be positive, got {self.size_wh}")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One captured picture.

    Attributes:
        meta: where and when it was captured.
        pixels: (H, W, 3) uint8, BGR, read-only. They may lie in a shared-memory slot: valid until the frame
            is released to the `FrameSupply` that it came from.
    """

    meta: FrameMeta
    pixels: Pixels

    def __post_init__(self) -> None:
        width, height = self.meta.size_wh
        require_array("pixels", self.pixels, np.uint8, (height, width, 3))
        if self.pixels.flags.writeable:
            view = self.pixels.view()
            view.flags.writeable = False
            object.__setattr__(self, "pixels", view)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The objects found in one frame, by falling confidence. Raises as `require_array` does.

    Attributes:
        xyxy: (N, 4) float32, frame pixels, x1 <= x2, y1 <= y2, inside the frame.
        confidence: (N,) float32 in 0..1, objectness times class probability.
        class_id: (N,) int32, index into the model's classes.
    """

    xyxy: Floats
    confidence: Floats
    class_id: Ints

    def __post_init__(self) -> None:
        require_array("xyxy", self.xyxy, np.float32, (None, 4))
        require_array("confidence", self.confidence, np.float32, (len(self.xyxy),))
        require_array("class_id", self.class_id, np.int32, (len(self.xyxy),))

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> Detections:
        """Looked, saw nothing. Never stands for a failure."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What the detector found in one frame.

    Attributes:
        meta: the frame's own.
        detections: in frame pixels.
        timings: milliseconds by stage: `waiting` (grab to submit), `detect` (submit to result) and `total`
            (grab to result) always; finer stages (`preprocess`, `inference`, `decode`, `nms`) where the
            backend can tell.
        events: of each detection the event that it belongs to, a ULID, or empty; no element at all where nobody
            follows objects.

    Raises:
        ValueError: a timing is missing, or there are not as many events as detections.
    """

    meta: FrameMeta
    detections: Detections
    timings: Mapping[str, float]
    events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = {"waiting", "detect", "total"} - self.timings.keys()
        if missing:
            raise ValueError(f"timings must hold waiting, detect and total, missing {sorted(missing)}")
        if self.events and len(self.events) != len(self.detections):
            raise ValueError(
                f"events must name one for each of {len(self.detections)} detections, got {len(self.events)}"
            )


@dataclass(frozen=True)
class Thresholds(ScoreLimits):
    """What counts as a detection, in the terms of one model.

    Attributes:
        class_ids: classes that are reported; empty for all.
    """

    class_ids: frozenset[int] = frozenset()
