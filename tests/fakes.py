"""Stand-ins that implement our own protocols: scripted frames, a detector without a device, a list for a publisher."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone

import numpy as np

from edged.core.errors import DetectorError
from edged.core.events import Event, ObjectCounts, Snapshot
from edged.core.pulse import Pulse
from edged.core.states import CameraState, DeviceInfo, Statistics
from edged.core.types import Detections, Frame, FrameMeta, FrameResult, Pixels
from edged.core.watched import Watched


def make_frame(camera: str = "gate", sequence: int = 0, size_wh: tuple[int, int] = (4, 3)) -> Frame:
    meta = FrameMeta(camera, sequence, datetime.now(timezone.utc), time.monotonic_ns(), size_wh)
    return Frame(meta, np.zeros((size_wh[1], size_wh[0], 3), np.uint8))


def frame_of(pixels: Pixels, *, camera: str = "gate", sequence: int = 0) -> Frame:
    """A frame with this picture, captured now."""
    now = datetime.now(timezone.utc)
    meta = FrameMeta(camera, sequence, now, time.monotonic_ns(), (pixels.shape[1], pixels.shape[0]))
    return Frame(meta, pixels)


class FakeSupply:
    """Gives the frames it was made with, in order; then ends."""

    def __init__(self, frames: Sequence[Frame], *, endless: bool = False) -> None:
        self._frames = deque(frames)
        self._endless = endless
        self.out: list[Frame] = []
        self.released = 0

    def take(self, limit: int, *, timeout_s: float) -> list[Frame]:
        taken = [self._frames.popleft() for _ in range(min(limit, len(self._frames)))]
        if not taken:
            time.sleep(min(timeout_s, 0.01))
        self.out += taken
        return taken

    def release(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.out.remove(frame)
            self.released += 1

    @property
    def ended(self) -> bool:
        return not self._frames and not self._endless


class FakeDetector:
    """Sees nothing in anything; `fail_at` raises when that many batches were collected."""

    def __init__(self, *, room: int = 2, fail_at: int = -1, hang: threading.Event | None = None) -> None:
        self._room = room
        self._fail_at = fail_at
        self._hang = hang
        self._batches: deque[Sequence[Frame]] = deque()
        self.largest_load = 0
        self.collected = 0
        self.closed = False

    @property
    def room(self) -> int:
        return self._room - sum(map(len, self._batches))

    def submit(self, frames: Sequence[Frame]) -> None:
        assert 0 < len(frames) <= self.room
        self._batches.append(frames)
        self.largest_load = max(self.largest_load, sum(map(len, self._batches)))

    def collect(self) -> list[FrameResult]:
        if self._hang is not None:
            self._hang.wait()
        if self.collected == self._fail_at:
            raise DetectorError("the device is gone")
        self.collected += 1
        timings = {"waiting": 1.0, "detect": 2.0, "total": 3.0}
        return [FrameResult(frame.meta, Detections.empty(), timings) for frame in self._batches.popleft()]

    def close(self) -> None:
        self.closed = True


class FakePublisher:
    """Remembers what it was given."""

    def __init__(self, *, on_publish: Callable[[FrameResult], None] = lambda _: None) -> None:
        self.results: list[FrameResult] = []
        self._on_publish = on_publish

    def publish(self, result: FrameResult) -> None:
        self._on_publish(result)
        self.results.append(result)


class FakeSink(FakePublisher):
    """A whole sink that notes what it was told, in order."""

    def __init__(self, name: str = "fake") -> None:
        super().__init__()
        self.summary = f"{name} connected"
        self.pulses = {name: Pulse()}
        self.told: list[object] = []
        self.closed = 0

    def event(self, event: Event) -> None:
        self.told.append(event)

    def objects(self, counts: ObjectCounts) -> None:
        self.told.append(counts)

    def snapshot(self, snapshot: Snapshot) -> None:
        self.told.append(snapshot)

    def set_model(self, model: str, classes: Sequence[str]) -> None:
        self.told.append((model, tuple(classes)))

    def camera_state(self, state: CameraState) -> None:
        self.told.append(state)

    def watch(self, cameras: Iterable[Watched]) -> None:
        self.told.append(tuple(cameras))

    def info(self, info: DeviceInfo) -> None:
        self.told.append(info)

    def statistics(self, statistics: Statistics) -> None:
        self.told.append(statistics)

    def close(self) -> None:
        self.closed += 1
