"""Verifies a bundle of the store and adds the report to it; a model that does not pass is an error."""

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
    """Verify a bundle and add the report to it, whether it passed or not.

    Args:
        store: that holds the bundle.
        bundle: opened from there.
        frames: folder that `sample` made.
        gate: the limits; the defaults of `Gate` if None.
        labelled: a data-set YAML whose `val` split decides, in place of the frames.
        out: folder for a copy of the report; None for no copy.
        threads: of ONNX Runtime; 0 for every core.
        device: the GPU that runs an engine; None verifies the INT8 graph for the CPU even if there is an engine.

    Raises:
        DataError: the model did not pass, or an input is damaged or missing.
        UsageError: the bundle has only the float32 model.
        BundleMismatch, DetectorError: a model cannot be used here.
        EdgedError: the report cannot be written.
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
