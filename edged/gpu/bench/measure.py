"""Measures the GPU detector: engine alone, whole detector, each stage. `python -m edged.gpu.bench BUNDLE --help`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edged.core.bundle import Bundle
from edged.core.errors import EdgedError
from edged.core.types import Frame, FrameMeta, Thresholds
from edged.gpu.backend import open_detector
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0, or the exit code of what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m edged.gpu.bench", description=__doc__)
    parser.add_argument("bundle", type=Path, help="a model bundle with an engine for this machine")
    parser.add_argument("--batches", default="1,4,8,16", help="batch sizes, as far as the engine takes them")
    parser.add_argument("--size", default="1920x1080", help="of the frames, WIDTHxHEIGHT")
    parser.add_argument("--precision", default="auto", help="auto, fp32, fp16 or int8")
    parser.add_argument("--device", default="auto", help="auto, an index or a UUID")
    parser.add_argument("--repeats", type=int, default=200, help="batches a measurement")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        _report(options)
    except EdgedError as exc:
        sys.stderr.write(f"edged: {exc}\n")
        return exc.exit_code
    return 0


def _report(options: argparse.Namespace) -> None:
    width, height = (int(side) for side in options.size.split("x"))
    opened = open_detector(
        Bundle.open(options.bundle), thresholds=Thresholds(), device=options.device, precision=options.precision
    )
    detector = opened.detector
    try:
        batches = [batch for batch in map(int, options.batches.split(",")) if batch <= detector.max_batch]
        figures = [measure(detector, batch, size_wh=(width, height), repeats=options.repeats) for batch in batches]
    finally:
        detector.close()
    if options.json:
        report = {"backend": opened.backend, "frame": [width, height], "figures": [asdict(one) for one in figures]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    sys.stdout.write(f"{opened.backend}, frames of {width}x{height}\n")
    for one in figures:
        stages = "  ".join(f"{stage} {time_us:.0f}" for stage, time_us in one.stage_us.items())
        sys.stdout.write(
            f"batch {one.batch}: engine {one.engine_fps:.0f} frames/s, detector {one.detector_fps:.0f} "
            f"({one.share:.3f}); us a batch: {stages}; around the engine {one.frame_us:.0f} us a frame\n"
        )


if __name__ == "__main__":
    sys.exit(main())
