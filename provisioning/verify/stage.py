"""Verifies a bundle on this machine: opens both models, compares them and makes the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edged.core.bundle import MODEL, Bundle
from edged.core.decode import GridDecode, ListDecode
from edged.core.errors import UsageError
from edged.core.protocols import TunableDetector
from edged.cpu.choice import choose_graph
from edged.cpu.detector import CpuDetector
from provisioning.frames.frameset import FrameSet
from provisioning.verify.compare import Labelled, compare
from provisioning.verify.gate import Gate
from provisioning.verify.observe import SERVICE
from provisioning.verify.report import Subject, report_files
from provisioning.verify.speed import one_core_ms


def verify_bundle(
    bundle: Bundle,
    frames: FrameSet,
    gate: Gate,
    *,
    labelled: Path | None = None,
    threads: int = 0,
    device: str | None = "auto",
) -> dict[str, bytes]:
    """Verify the bundle's engine if it has one for its precision, else its INT8 graph on ONNX Runtime.

    Args:
        bundle: to be verified.
        frames: some of them must be for verification.
        gate: the limits. The verdict is in the report; a model that does not pass is no error here.
        labelled: a data-set YAML whose `val` split decides, in place of the frames.
        threads: of ONNX Runtime; 0 for every core.
        device: the GPU that runs an engine, as in `[engine] device`; None ignores engines and verifies the INT8 graph
            for the CPU.

    Returns:
        The files of the report, by name.

    Raises:
        UsageError: the bundle has only the float32 model.
        BundleMismatch, DataError, DetectorError: a model or frame cannot be used here.
    """
    spec = Labelled.read(labelled, bundle.manifest.classes) if labelled is not None else None
    reference = CpuDetector(bundle, thresholds=SERVICE, threads=threads, file=MODEL)
    with (
        contextlib.closing(reference),
        _candidate(bundle, threads, device) as (candidate, name, file),
    ):
        comparison = compare(reference, candidate, frames, gate, spec)
    manifest = bundle.manifest
    speed = one_core_ms(bundle, (MODEL, file)) if file else ()
    return report_files(Subject(manifest, manifest.files, name, file, speed), comparison, frames)


@contextlib.contextmanager
def _candidate(bundle: Bundle, threads: int, device: str | None) -> Iterator[tuple[TunableDetector, str, str]]:
    """The detector to verify, its name for people, and the file that ONNX Runtime runs (empty for an engine)."""
    if device is not None and any(engine.precision == bundle.manifest.precision for engine in bundle.manifest.engines):
        from edged.gpu.backend import open_detector  # noqa: PLC0415 - only where there is an engine

        opened = open_detector(bundle, thresholds=SERVICE, device=device)
        with contextlib.closing(opened.detector):
            yield opened.detector, opened.backend, ""
        return
    file = choose_graph(bundle.manifest, "int8").file
    if file in bundle.manifest.files:
        detector = CpuDetector(bundle, thresholds=SERVICE, threads=threads, file=file)
        with contextlib.closing(detector):
            yield detector, f"{file} on ONNX Runtime", file
    else:
        build = "on the device: edged-provision build"
        match bundle.manifest.decode:
            case GridDecode():
                remedy = f"run: edged-provision quantize, or {build}"
            case ListDecode():
                remedy = f"run {build}"
        raise UsageError(
            f"{bundle.manifest.name} holds the float32 model only, there is nothing to compare it with", remedy=remedy
        )
