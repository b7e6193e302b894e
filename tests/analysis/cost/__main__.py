"""What analysis costs the pipeline's thread: `python -m tests.analysis.cost`. Prints medians and 95th percentiles.

Objects move, come and go; the camera has two zones and a line. Between two frames other memory is touched, as a model
does. Snapshots are those of 16 cameras of 1080 lines, each of which asks for a picture at once.
"""

from __future__ import annotations

import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from edged.analysis.options import LineOptions, SceneOptions, SnapshotOptions, ZoneOptions
from edged.analysis.snapshots.store import Limits, SnapshotStore
from edged.analysis.snapshots.worker import Job, SnapshotWorker
from edged.analysis.stage import Analysis
from edged.analysis.tracking.track import Track
from edged.analysis.tracking.tracker import Tracker
from edged.core.types import Detections, Frame, FrameMeta, FrameResult
from tests.fakes import FakeSink, frame_of

FRAMES, STEP_S = 300, 0.1
SIZE = (1920, 1080)
ZONES = tuple(
    ZoneOptions(name=f"zone-{n}", points=((n / 2, 0.0), (n / 2 + 0.5, 0.0), (n / 2 + 0.5, 1.0), (n / 2, 1.0)))
    for n in range(2)
)
OPTIONS = SceneOptions(zones=ZONES, lines=(LineOptions(name="line", points=((0.0, 0.5), (1.0, 0.5))),))
TIMINGS = {"waiting": 0.0, "detect": 0.0, "total": 0.0}


def frame_ms(objects: int) -> tuple[list[float], list[float]]:
    """CPU milliseconds of each frame: of all of the analysis, and of the tracker in it."""
    rng = np.random.default_rng(0)
    analysis = Analysis({"gate": OPTIONS}, sink=FakeSink(), model="m", classes=("person", "car"))
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    other = np.zeros(8 << 20, np.uint8)
    place, speed = rng.uniform(100, 900, (objects, 2)), rng.normal(0, 40, (objects, 2))
    classes = rng.integers(0, 2, objects).astype(np.int32)
    began, spent = datetime.now(timezone.utc), []
    tracker, update = [], Tracker.update

    def timed(self: Tracker, *found: Any) -> list[Track | None] | None:
        before = time.thread_time_ns()
        tracks = update(self, *found)
        tracker.append((time.thread_time_ns() - before) / 1e6)
        return tracks

    with mock.patch.object(Tracker, "update", timed):
        for number in range(FRAMES):
            seen = rng.random(objects) > 0.1
            low = (place + speed * number * STEP_S + rng.normal(0, 2, (objects, 2)))[seen]
            boxes = np.concatenate([low, low + np.array([60, 140])], axis=1).clip(0, 1920).astype(np.float32)
            found = Detections(boxes, np.full(len(boxes), 0.8, np.float32), classes[seen])
            at_s = number * STEP_S
            meta = FrameMeta("gate", number, began + timedelta(seconds=at_s), round((1 + at_s) * 1e9), SIZE)
            frame, result = Frame(meta, pixels), FrameResult(meta, found, TIMINGS)
            other += 1
            before = time.thread_time_ns()
            analysis.process(frame, result)
            spent.append((time.thread_time_ns() - before) / 1e6)
    return spent, tracker


def snapshot_ms(folder: Path, cameras: int = 16) -> tuple[list[float], list[float]]:
    """Milliseconds that each camera's `take` holds up the caller; all ask at once, again and again.

    And those of a bare copy of such a frame into memory that was used before, each after a take.
    """
    store = SnapshotStore(folder, Limits(max_mb=1000, max_days=1, min_free_mb=0))
    worker = SnapshotWorker(SnapshotOptions(), store, on_snapshot=lambda _: None)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    frame = frame_of(pixels)
    box, spent, copies = (500.0, 300.0, 700.0, 800.0), list[float](), list[float]()
    used = [np.ones_like(pixels) for _ in range(4)]
    for turn in range(20):
        for camera in range(cameras):
            job = Job(f"{camera}", "person", frame.meta.captured_at, frame.meta, box, 0.8, frame.pixels)
            before = time.perf_counter_ns()
            taken = worker.take(job)
            if taken and turn:  # the first turn has no memory to use again
                spent.append((time.perf_counter_ns() - before) / 1e6)
                before = time.perf_counter_ns()
                np.copyto(used[len(copies) % len(used)], pixels)
                copies.append((time.perf_counter_ns() - before) / 1e6)
        time.sleep(0.5)
    worker.close(5)
    return spent, copies


def said(what: str, milliseconds: list[float]) -> None:
    """One line."""
    median, high = np.percentile(milliseconds, [50, 95])
    print(f"{what:34s} median {median:6.3f} ms   95 % below {high:6.3f} ms   ({len(milliseconds)})")


def main() -> None:
    """Print all."""
    for objects in (1, 5, 20, 50):
        whole, tracker = frame_ms(objects)
        said(f"a frame with {objects} objects", whole)
        said("  of it, the tracker", tracker)
    with tempfile.TemporaryDirectory() as folder:
        spent, copies = snapshot_ms(Path(folder))
    said("a snapshot of 1080 lines", spent)
    said("  beside it, a copy of the frame", copies)


if __name__ == "__main__":
    main()
