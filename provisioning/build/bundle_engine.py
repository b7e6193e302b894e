"""Builds engines and adds them to bundles; decides which earlier engines stay in the bundle."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx

from edged.core.bundle import MODEL, MODEL_INT8, MODEL_INT8_CPU, Bundle
from edged.core.errors import EdgedError
from edged.core.manifest import EngineRecord, FileRecord, Manifest
from edged.gpu.tensorrt import RTX
from provisioning.build.maker import ENGINE, TIMING_CACHE, EngineMaker, suited
from provisioning.revision import OUTPUTS_MODEL, PLUGIN_MODEL, EngineModels, engine_models, model_for, revise
from provisioning.store import Store

logger = logging.getLogger(__name__)


def add_engine(
    store: Store,
    bundle: Bundle,
    maker: EngineMaker,
    *,
    precision: str,
    batch: tuple[int, int, int],
    workspace_mb: int,
) -> Bundle:
    """Build an engine and add it to the bundle. Engines that it replaces are removed; the active bundle stays active.

    Args:
        store: that holds the bundle.
        bundle: opened from there.
        maker: builds on this machine.
        precision: fp32, fp16, or int8 of a quantised bundle.
        batch: smallest, optimal and largest batch size.
        workspace_mb: device memory for the build, MiB.

    Raises:
        UsageError: the maker was told to use the plugin, which has nothing to decode in this model.
        BundleMismatch: int8 is wanted, but the bundle is not quantised, or cannot be.
        DataError: a file of the bundle is damaged.
        EdgedError: TensorRT failed, the store or the disk cannot be written, or the model was replaced meanwhile.
    """
    maker = suited(maker, bundle.manifest)
    typed = maker.typed and precision != "fp32"
    model, threshold = model_for(bundle, precision), bundle.manifest.min_confidence
    models = engine_models(bundle.manifest, model, typed=typed, threshold=threshold)
    _require_readable(bundle)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            save_engine_models(folder, models)
            record = build_engine(maker, folder, folder, precision=precision, batch=batch, workspace_mb=workspace_mb)
            with store.locked():
                # A build takes up to an hour: others may have added engines since the bundle was opened.
                current = store.open(bundle.manifest.name)
                if not is_of(record, bundle.manifest, current.manifest.files, current.manifest):
                    raise EdgedError(f"{bundle.manifest.name} was replaced while its engine was built; run it again")
                content = {**engine_files(folder, record), **models.bundled()}
                engines = (record, *readable(current, remaining(current.manifest.engines, record)))
                report = current.manifest.report
                kept = report if precision == "int8" and report.get("file") == MODEL_INT8_CPU else {}
                return revise(store, current, content, precision=precision, engines=engines, report=kept)
    except OSError as exc:
        raise EdgedError(
            f"{exc.filename or tempfile.gettempdir()}: {exc.strerror or exc}", remedy="free space, or set TMPDIR"
        ) from exc


def save_engine_models(folder: Path, models: EngineModels) -> None:
    """Write the graphs into `folder`, where `build_engine` looks for them."""
    for name, graph in models.graphs.items():
        onnx.save(graph, str(folder / name))


def build_engine(
    maker: EngineMaker, models: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
) -> EngineRecord:
    """Build an engine into `folder` from the graphs that `save_engine_models` wrote into `models`.

    Raises:
        EdgedError: TensorRT failed.
    """
    source = models / (PLUGIN_MODEL if maker.decode == "plugin" else OUTPUTS_MODEL)
    return maker.build(source, folder, precision=precision, batch=batch, workspace_mb=workspace_mb)


def engine_files(folder: Path, record: EngineRecord) -> dict[str, bytes | Path]:
    """The files of a build in `folder`, by their names in a bundle: the engine and, if any, the timing cache."""
    timing = folder / TIMING_CACHE
    files: dict[str, bytes | Path] = {record.file: folder / ENGINE}
    return {**files, TIMING_CACHE: timing} if timing.is_file() and timing.stat().st_size else files


def remaining(engines: Iterable[EngineRecord], new: EngineRecord) -> tuple[EngineRecord, ...]:
    """The engines that `new` does not replace.

    It replaces those of the same precision and kind of TensorRT, if it runs on every device that they run on.
    """
    return tuple(engine for engine in engines if not _gives_way(engine, new))


def is_of(engine: EngineRecord, before: Manifest, files: Mapping[str, FileRecord], now: Manifest) -> bool:
    """Whether an engine was built from the model that the bundle of the same name holds now.

    Args:
        engine: built from the model of `before`.
        before: the manifest then.
        files: the files of the bundle now, by name.
        now: its manifest; its `files` may still be empty.
    """
    sources = (MODEL, MODEL_INT8) if engine.precision == "int8" else (MODEL,)
    same = all(name in files and before.files.get(name) == files[name] for name in sources)
    # The plugin has the threshold built in.
    return same and (engine.decode != "plugin" or before.min_confidence == now.min_confidence)


def readable(bundle: Bundle, engines: Iterable[EngineRecord]) -> list[EngineRecord]:
    """The engines whose files are intact. A damaged one is logged and left out, so it cannot prevent a new build."""
    whole = []
    for engine in engines:
        try:
            bundle.read(engine.file)
            whole.append(engine)
        except EdgedError as exc:
            logger.warning("%s is left out: %s", engine.file, exc)
    return whole


def _gives_way(old: EngineRecord, new: EngineRecord) -> bool:
    if old.file == new.file:
        return True
    if (old.kind, old.precision) != (new.kind, new.precision):
        return False
    if new.kind == RTX:
        return set(old.capabilities) <= set(new.capabilities)
    return (old.gpu, old.compute_capability) == (new.gpu, new.compute_capability)


def _require_readable(bundle: Bundle) -> None:
    """Raise DataError if a file other than an engine is damaged: better before a long build than after it."""
    engines = {engine.file for engine in bundle.manifest.engines}
    for name in bundle.manifest.files.keys() - engines:
        bundle.read(name)
