"""An engine for a bundle of the store."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from edged.core.bundle import Bundle
from edged.core.manifest import EngineRecord
from provisioning.build.maker import ENGINE, TIMING_CACHE, EngineMaker
from provisioning.revision import PLUGIN_MODEL, engine_models, model_for, revise
from provisioning.store import Store


def add_engine(
    store: Store,
    bundle: Bundle,
    maker: EngineMaker,
    *,
    precision: str,
    batch: tuple[int, int, int],
    workspace_mb: int,
) -> Bundle:
    """Build an engine of the bundle and add it; one for the same devices and precision gives way, what is active stays.

    Args:
        store: that holds the bundle.
        bundle: opened from there.
        maker: builds on this machine.
        precision: fp32, fp16, or int8 of a quantised bundle.
        batch: smallest, optimal and largest.
        workspace_mb: device memory for the build.

    Raises:
        BundleMismatch: int8 is wanted of a bundle that was never quantised.
        EdgedError: TensorRT failed, or the store cannot be written.
    """
    typed = maker.typed and precision != "fp32"
    heads, patched = engine_models(bundle.manifest, model_for(bundle, precision), typed=typed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        onnx.save(patched if maker.decode == "plugin" else heads, str(folder / "model.onnx"))
        record = maker.build(folder / "model.onnx", folder, precision=precision, batch=batch, workspace_mb=workspace_mb)
        content = {**engine_files(folder, record), PLUGIN_MODEL: patched.SerializeToString()}
        others = tuple(engine for engine in bundle.manifest.engines if engine.file != record.file)
        return revise(store, bundle, content, precision=precision, engines=(*others, record), report={})


def engine_files(folder: Path, record: EngineRecord) -> dict[str, bytes | Path]:
    """What a build left in a folder, by the names that it has in a bundle."""
    timing = folder / TIMING_CACHE
    files: dict[str, bytes | Path] = {record.file: folder / ENGINE}
    return {**files, TIMING_CACHE: timing} if timing.is_file() and timing.stat().st_size else files
