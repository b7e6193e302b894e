"""Measures the GPU detector: engine alone, whole detector, each stage."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from edged.core.types import Frame, FrameMeta
from edged.gpu.detector import GpuDetector
from edged.gpu.program import STAGES

WARM_UP = 20  # batches before the clock starts: clocks rise, caches fill
STREAMS = 5


@dataclass(frozen=True, slots=True)
class Figures:
    """What one batch size does; medians over `repeats`.

    Attributes:
        batch: images.
        engine_fps: frames a second of the engine alone, from a graph of it.
        detector_fps: of the whole detector, frames pinned, two batches under way.
        share: detector over engine.
        outside_engine: share of a batch's device time that is not the engine's.
        stage_us: microseconds a batch, by stage.
        frame_us: microseconds a frame of preprocessing, decode and NMS together.
    """

    batch: int
    engine_fps: float
    detector_fps: float
    share: float
    outside_engine: float
    stage_us: dict[str, float]
    frame_us: float


def measure(detector: GpuDetector, batch: int, *, size_wh: tuple[int, int], repeats: int) -> Figures:
    """All figures of one batch size, one after another in this process; both rates are of steady streams.

    Args:
        detector: idle.
        batch: 1..max_batch.
        size_wh: of the frames, pixels; noise, pinned.
        repeats: batches of each measurement.
    """
    frames = _pinned_frames(detector, batch, size_wh)
    whole_s = _batch_s(lambda count: _run_batches(detector, frames, count), repeats)
    stages = stage_us(detector, batch, repeats=repeats)
    gpu, stream, program = detector.gpu, detector.compute, detector.programs[batch]
    engine = program.stages["inference"][0]
    graph = gpu.capture(stream, lambda: engine(stream)) if program.can_be_captured else None

    def engine_alone(count: int) -> None:
        for _ in range(count):
            if graph is None:
                engine(stream)
            else:
                gpu.replay(graph, stream)
        gpu.synchronize(stream)

    engine_s = _batch_s(engine_alone, repeats)
    around = sum(stages.values()) - stages["inference"]
    return Figures(
        batch=batch,
        engine_fps=batch / engine_s,
        detector_fps=batch / whole_s,
        share=engine_s / whole_s,
        outside_engine=around / sum(stages.values()),
        stage_us=stages,
        frame_us=around / batch,
    )


def run_batches(detector: GpuDetector, count: int, *, size_wh: tuple[int, int]) -> None:
    """`count` batches of the largest size, of noise."""
    _run_batches(detector, _pinned_frames(detector, detector.max_batch, size_wh), count)


def stage_us(detector: GpuDetector, batch: int, *, repeats: int) -> dict[str, float]:
    """Median device time of each stage of a batch, microseconds, by events between plain launches."""
    gpu, stream, program = detector.gpu, detector.compute, detector.programs[batch]
    marks = [gpu.make_event() for _ in range(len(STAGES) + 1)]
    samples: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for _ in range(repeats + WARM_UP):
        gpu.record(marks[0], stream)
        for stage, mark in zip(STAGES, marks[1:], strict=True):
            for step in program.stages[stage]:
                step(stream)
            gpu.record(mark, stream)
        gpu.synchronize(stream)
        while not gpu.is_reached(marks[-1]):
            time.sleep(0)
        for stage, start, end in zip(STAGES, marks, marks[1:], strict=False):
            samples[stage].append(gpu.elapsed_ms(start, end) * 1e3)
    return {stage: statistics.median(times[WARM_UP:]) for stage, times in samples.items()}


def _pinned_frames(detector: GpuDetector, batch: int, size_wh: tuple[int, int]) -> list[Frame]:
    width, height = size_wh
    memory = np.random.default_rng(0).integers(0, 256, batch * width * height * 3, np.uint8)
    detector.pin(memory.ctypes.data, memory.nbytes)
    now = datetime.now(timezone.utc)
    pixels = memory.reshape(batch, height, width, 3)
    return [
        Frame(FrameMeta("bench", index, now, time.monotonic_ns(), size_wh), pixels[index]) for index in range(batch)
    ]


def _run_batches(detector: GpuDetector, frames: Sequence[Frame], count: int) -> None:
    """`count` batches with the ring kept full."""
    under_way = 0
    for _ in range(count):
        if not detector.room:
            detector.collect()
            under_way -= 1
        detector.submit(frames)
        under_way += 1
    for _ in range(under_way):
        detector.collect()


def _batch_s(run: Callable[[int], None], repeats: int) -> float:
    """Seconds a batch in a steady stream of `repeats` of them; the median of several streams."""
    run(WARM_UP)
    times = []
    for _ in range(STREAMS):
        start = time.perf_counter()
        run(repeats)
        times.append((time.perf_counter() - start) / repeats)
    return statistics.median(times)
