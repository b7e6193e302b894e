"""An engine for a bundle of the store."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from edged.core.bundle import Bundle
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
    """Build the bundle's engine here and add it, in the place of an earlier one; what is active stays.

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
        files = {name: folder / name for name in (ENGINE, TIMING_CACHE)}
        content: dict[str, bytes | Path] = {**files, PLUGIN_MODEL: patched.SerializeToString()}
        return revise(store, bundle, content, precision=precision, engines=(record,), report={})
