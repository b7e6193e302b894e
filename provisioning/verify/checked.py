"""Verification of a bundle of the store: the report is added to it, a verdict below the gate is an error."""

from __future__ import annotations

from pathlib import Path

from edged.core.bundle import Bundle
from edged.core.errors import EdgedError
from provisioning.frames.frameset import FrameSet
from provisioning.revision import revise
from provisioning.store import Store
from provisioning.verify.gate import Gate, Verdict
from provisioning.verify.report import REPORT, read_report
from provisioning.verify.stage import verify_bundle


def verified(
    store: Store,
    bundle: Bundle,
    frames: Path,
    *,
    gate: Gate | None = None,
    labelled: Path | None = None,
    out: Path | None = None,
    threads: int = 0,
    device: str | None = "auto",
) -> Verdict:
    """Verify and keep the report in the bundle, passed or not.

    Args:
        store: that holds it.
        bundle: opened from there.
        frames: folder that `sample` made.
        gate: the limits; the usual ones if None.
        labelled: a data-set YAML whose `val` decides instead.
        out: gets a copy of the report.
        threads: of ONNX Runtime; 0 for every core.
        device: the GPU that runs an engine; None for the INT8 graph of a CPU, although there is an engine.

    Raises:
        DataError: below the gate, or an input is not what it should be.
        EdgedError: the report cannot be written; and as `verify_bundle` raises.
    """
    taken = FrameSet.read(frames)
    files = verify_bundle(bundle, taken, gate or Gate(), labelled=labelled, threads=threads, device=device)
    report = read_report(files[REPORT])
    revise(store, bundle, files, report=report.summary)
    if out is not None:
        _write(out, files)
    report.verdict.require_passed(bundle.manifest.name)
    return report.verdict


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as exc:
        raise EdgedError(f"{folder} cannot be written: {exc.strerror or exc}") from exc
