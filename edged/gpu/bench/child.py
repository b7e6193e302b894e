"""One measurement in a process of its own: CUDA reads its environment once. `python -m edged.gpu.bench.child JSON`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from edged.core.bundle import Bundle
from edged.core.errors import DetectorError, EdgedError
from edged.core.types import Thresholds
from edged.gpu.backend import OpenedDetector, open_detector
from edged.gpu.bench.measure import Figures, measure, run_batches
from edged.gpu.detector import RING, GpuDetector


@dataclass(frozen=True, slots=True)
class ChildRequest:
    """What one process measures.

    Attributes:
        bundle: its directory.
        device: as `[engine] device`.
        batches: sizes to measure, those above the engine's largest are left out; empty to measure memory only.
        frame_wh: of the frames, pixels.
        repeats: batches per measurement.
        lazy: how CUDA loads modules; the environment must say the same.
    """

    bundle: str
    device: str
    batches: tuple[int, ...]
    frame_wh: tuple[int, int]
    repeats: int
    lazy: bool


@dataclass(frozen=True, slots=True)
class ChildReport:
    """What one process measured.

    Attributes:
        backend: TensorRT, precision, GPU.
        figures: by batch size.
        memory_mb: device memory that this process uses after its first batches of the largest size, MiB, contexts and
            kernels included; None where NVML cannot tell (Jetson).
    """

    backend: str
    figures: tuple[Figures, ...]
    memory_mb: float | None


def report(request: ChildRequest) -> ChildReport:
    """Open the detector and measure.

    Raises:
        EdgedError: as `open_detector` raises.
    """
    before = _free_bytes()
    opened = open_detector(
        Bundle.open(Path(request.bundle)), thresholds=Thresholds(), device=request.device, lazy=request.lazy
    )
    try:
        return _measured(opened, request, before)
    finally:
        opened.detector.close()


def _measured(opened: OpenedDetector, request: ChildRequest, before: dict[str, int]) -> ChildReport:
    detector = opened.detector
    if not isinstance(detector, GpuDetector):
        raise DetectorError(f"{opened.backend} is no GPU detector")
    run_batches(detector, RING, size_wh=request.frame_wh)  # each slot allocates memory for its frames
    after = _free_bytes()
    taken = [free - now for uuid, free in before.items() if (now := after.get(uuid)) is not None]
    figures = tuple(
        measure(detector, batch, size_wh=request.frame_wh, repeats=request.repeats)
        for batch in request.batches
        if batch <= detector.max_batch
    )
    return ChildReport(opened.backend, figures, max(taken) / 2**20 if taken else None)


def _free_bytes() -> dict[str, int]:
    """Free memory by GPU's UUID where NVML knows it; empty where NVML fails, which `open_detector` reports."""
    try:
        from edged.gpu.nvml import read_gpus  # noqa: PLC0415 - needs nvidia-ml-py

        return {facts.uuid: facts.free_bytes for facts in read_gpus() if facts.free_bytes is not None}
    except (ImportError, DetectorError):
        return {}


def main(text: str) -> int:
    """Measure what the JSON `text` requests, print the report as JSON; returns the exit code."""
    try:
        raw = json.loads(text)
        request = ChildRequest(**{**raw, "batches": tuple(raw["batches"]), "frame_wh": tuple(raw["frame_wh"])})
        sys.stdout.write(json.dumps(asdict(report(request))) + "\n")
    except EdgedError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
