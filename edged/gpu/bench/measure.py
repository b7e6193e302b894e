"""Measures the GPU detector: engine alone, whole detector, each stage, the upload."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from edged.core.errors import DetectorError
from edged.core.types import Frame, FrameMeta
from edged.gpu.detector import GpuDetector
from edged.gpu.errors import DeviceLost
from edged.gpu.program import STAGES

logger = logging.getLogger(__name__)

WARM_UP = 20  # batches before time is taken: clocks rise, caches fill
STREAMS = 5
IN_A_ROW = 20  # runs of a stage in one graph: a launch from Python takes longer than many kernels


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one batch size; medians.

    Attributes:
        batch: images.
        engine_fps: frames per second of the engine alone, as a CUDA graph where it can be captured.
        detector_fps: frames per second of the whole detector, frames pinned, two batches under way.
        share: detector_fps / engine_fps.
        outside_engine: share of a batch's device time outside of the engine.
        stage_us: microseconds per batch, by stage, each run many times in a row with warm caches.
        plain_stages: stages that could not be captured as a graph; their times include Python's launches.
        frame_us: microseconds per frame of preprocessing, decode and NMS together.
        upload_us: microseconds to copy a batch's frames from pinned memory to the device.
        upload_gb_s: the same as gigabytes (10^9) per second.
    """

    batch: int
    engine_fps: float
    detector_fps: float
    share: float
    outside_engine: float
    stage_us: dict[str, float]
    plain_stages: tuple[str, ...]
    frame_us: float
    upload_us: float
    upload_gb_s: float


def measure(detector: GpuDetector, batch: int, *, size_wh: tuple[int, int], repeats: int) -> Figures:
    """Measure all figures of one batch size, one after the other; both rates are of steady streams of batches.

    Args:
        detector: idle.
        batch: 1..max_batch.
        size_wh: of the frames, pixels; they are noise in pinned memory.
        repeats: batches per measurement.
    """
    with _pinned_frames(detector, batch, size_wh) as frames:
        frame_bytes = frames[0].pixels.nbytes
        whole_s = _batch_s(lambda count: _run_batches(detector, frames, count), repeats)
    stages, plain = stage_us(detector, batch, repeats=repeats)
    engine, _ = _work(detector, batch, "inference", 1)

    def engine_alone(count: int) -> None:
        for _ in range(count):
            engine()
        detector.gpu.synchronize(detector.compute)

    engine_s = _batch_s(engine_alone, repeats)
    around = sum(stages.values()) - stages["inference"]
    copied_us = upload_us(detector, [frame_bytes] * batch, repeats=repeats)
    return Figures(
        batch=batch,
        engine_fps=batch / engine_s,
        detector_fps=batch / whole_s,
        share=engine_s / whole_s,
        outside_engine=around / sum(stages.values()),
        stage_us=stages,
        plain_stages=plain,
        frame_us=around / batch,
        upload_us=copied_us,
        upload_gb_s=batch * frame_bytes / copied_us / 1e3,
    )


def run_batches(detector: GpuDetector, count: int, *, size_wh: tuple[int, int]) -> None:
    """Run `count` batches of the largest size with frames of noise."""
    with _pinned_frames(detector, detector.max_batch, size_wh) as frames:
        _run_batches(detector, frames, count)


def stage_us(detector: GpuDetector, batch: int, *, repeats: int) -> tuple[dict[str, float], tuple[str, ...]]:
    """Median device time of each stage of a batch, microseconds, and the stages that ran without a graph.

    Args:
        detector: its last batch must have had this size, for the frame table.
        batch: 1..max_batch.
        repeats: runs of each stage, rounded up to a multiple of `IN_A_ROW`.
    """
    times, plain = dict.fromkeys(STAGES, 0.0), list[str]()
    for stage in STAGES:
        if not detector.programs[batch].stages[stage]:
            continue  # it is part of the engine
        run, is_graph = _work(detector, batch, stage, IN_A_ROW)
        times[stage] = _device_us(detector, run, -(-repeats // IN_A_ROW)) / IN_A_ROW
        plain += [] if is_graph else [stage]
    return times, tuple(plain)


def upload_us(detector: GpuDetector, sizes: Sequence[int], *, repeats: int) -> float:
    """Median microseconds to copy blocks of these sizes, in bytes, from pinned memory to the device."""
    gpu, stream = detector.gpu, detector.compute
    host, device = gpu.allocate_pinned(sum(sizes)), gpu.allocate(sum(sizes))
    starts = np.cumsum([0, *sizes[:-1]]).tolist()

    def copy() -> None:
        for start, nbytes in zip(starts, sizes, strict=True):
            gpu.upload(device + start, host.ctypes.data + start, nbytes, stream)

    taken = _device_us(detector, copy, repeats)
    gpu.free(device)
    gpu.free_pinned(host)
    return taken


def _work(detector: GpuDetector, batch: int, stage: str, count: int) -> tuple[Callable[[], None], bool]:
    """A function that puts `count` runs of a stage on the compute stream, and whether it replays a graph."""
    gpu, stream, program = detector.gpu, detector.compute, detector.programs[batch]

    def plain() -> None:
        for _ in range(count):
            for step in program.stages[stage]:
                step(stream)

    if stage == "inference" and not program.can_be_captured:
        return plain, False
    try:
        graph = gpu.capture(stream, plain)
    except DeviceLost:
        raise
    except DetectorError as exc:
        logger.warning("%s of batches of %d is measured without a CUDA graph: %s", stage, batch, exc)
        return plain, False
    return lambda: gpu.replay(graph, stream), True


def _device_us(detector: GpuDetector, run: Callable[[], None], samples: int) -> float:
    """Median microseconds on the device of what `run` puts on the compute stream; the first run is left out."""
    gpu, stream = detector.gpu, detector.compute
    start, end = gpu.make_event(), gpu.make_event()
    times = []
    for _ in range(1 + samples):
        gpu.record(start, stream)
        run()
        gpu.record(end, stream)
        gpu.synchronize(stream)
        times.append(gpu.elapsed_ms(start, end) * 1e3)
    return statistics.median(times[1:])


@contextmanager
def _pinned_frames(detector: GpuDetector, batch: int, size_wh: tuple[int, int]) -> Iterator[list[Frame]]:
    """A batch of noise in pinned memory, unpinned at the end: the next batch may get the same address."""
    width, height = size_wh
    memory = np.random.default_rng(0).integers(0, 256, batch * width * height * 3, np.uint8)
    detector.pin(memory.ctypes.data, memory.nbytes)
    now = datetime.now(timezone.utc)
    pixels = memory.reshape(batch, height, width, 3)
    try:
        yield [
            Frame(FrameMeta("bench", index, now, time.monotonic_ns(), size_wh), pixels[index]) for index in range(batch)
        ]
    finally:
        detector.unpin(memory.ctypes.data)


def _run_batches(detector: GpuDetector, frames: Sequence[Frame], count: int) -> None:
    """Run `count` batches with as many under way as the detector takes."""
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
    """Seconds per batch in a steady stream of `repeats` batches; the median of `STREAMS` streams."""
    run(WARM_UP)
    times = []
    for _ in range(STREAMS):
        start = time.perf_counter()
        run(repeats)
        times.append((time.perf_counter() - start) / repeats)
    return statistics.median(times)
