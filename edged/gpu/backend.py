"""Opens the TensorRT backend: checks the bundle against the machine, then opens device, engine and detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edged.core.bundle import Bundle
from edged.core.errors import DetectorError, NotInstalled
from edged.core.manifest import EngineRecord
from edged.core.protocols import TunableDetector
from edged.core.types import Thresholds
from edged.gpu.choice import AUTO, GpuFacts, select_several
from edged.gpu.detector import GpuDetector
from edged.gpu.engine import TensorRtEngine
from edged.gpu.fit import REMEDY, Machine, built_for, fitting, require_engine
from edged.gpu.runtime_cache import RuntimeCache
from edged.gpu.several import SeveralGpus, naming
from edged.gpu.tensorrt import KINDS, RTX, TENSORRT, TITLES, TensorRt, installed, load

if TYPE_CHECKING:
    from edged.gpu.cuda import Cuda

_NAMES = {TENSORRT: "tensorrt", RTX: "tensorrt-rtx"}


@dataclass(frozen=True, slots=True)
class OpenedDetector:
    """A detector and what it runs on.

    Attributes:
        detector: ready for the first frame.
        backend: e.g. `tensorrt 10.3.0 fp16, Orin`, for people; several GPUs joined by ` + `.
        facts: device, driver, CUDA, TensorRT, module loading, free memory, graphs; for `edged check`.
    """

    detector: TunableDetector
    backend: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _OnOneGpu:
    """A detector on one GPU: what runs there, e.g. `tensorrt 10.3.0 fp16`, the GPU's name, and facts for people."""

    detector: GpuDetector
    runs: str
    gpu: str
    facts: Mapping[str, str]


def open_detector(
    bundle: Bundle,
    *,
    thresholds: Thresholds,
    device: str | Sequence[str] = AUTO,
    precision: str = "auto",
    need_mb: int = 0,
    max_batch: int = 0,
    lazy: bool = True,
) -> OpenedDetector:
    """Open the detector on this machine's GPU or GPUs. Only this imports the CUDA and TensorRT packages.

    Args:
        bundle: with an engine for each of the chosen GPUs.
        thresholds: for the frames to come.
        device: `auto`, an index, or the UUID of a GPU or MIG instance; or several indices and UUIDs.
        precision: `auto`, `fp32`, `fp16` or `int8`.
        need_mb: free device memory that `auto` requires, MiB.
        max_batch: most frames in one GPU's batch; 0 for as many as the engine takes.
        lazy: require lazy module loading (`Cuda`).

    Raises:
        BundleMismatch: no engine of that precision, or none for this machine; the message names both.
        ConfigError: `device` names no GPU of this machine, or one twice.
        DataError: the engine's file is damaged.
        DetectorError: the driver or the device is missing or fails.
        NotInstalled: a Python package is missing.
    """
    engines = require_engine(bundle.manifest, precision=precision)
    runtimes = _runtimes(engines)
    _require_cuda()
    chosen = _select((device,) if isinstance(device, str) else device, need_mb)
    parts: dict[str, _OnOneGpu] = {}
    with ExitStack() as undo:
        for ordinal, facts in enumerate(chosen):
            name = facts.label if facts is not None else "the GPU"
            with naming(name) if len(chosen) > 1 else nullcontext():
                parts[name] = _open_one(
                    bundle,
                    engines,
                    facts,
                    ordinal,
                    runtimes=runtimes,
                    thresholds=thresholds,
                    max_batch=max_batch,
                    lazy=lazy,
                )
            undo.callback(parts[name].detector.close)
        undo.pop_all()
    return _whole(parts)


def _open_one(
    bundle: Bundle,
    engines: tuple[EngineRecord, ...],
    chosen: GpuFacts | None,
    ordinal: int,
    *,
    runtimes: Mapping[str, TensorRt],
    thresholds: Thresholds,
    max_batch: int,
    lazy: bool,
) -> _OnOneGpu:
    """Open the detector on one of the chosen GPUs; `ordinal` is CUDA's number of it."""
    from edged.gpu.device import describe, open_gpu, register_plugin  # noqa: PLC0415 - needs CUDA

    with ExitStack() as undo:
        gpu = open_gpu(ordinal, lazy=lazy)
        undo.callback(gpu.close)
        _require_chosen(gpu, chosen)
        machine = Machine(
            gpu.name,
            ".".join(map(str, gpu.compute_capability)),
            {kind: tensorrt.version for kind, tensorrt in runtimes.items()},
        )
        record = fitting(engines, machine)
        tensorrt = runtimes[record.kind]
        if record.decode == "plugin":
            register_plugin(gpu)
        plan = bundle.read(record.file)
        cache = RuntimeCache.of(plan, tensorrt, gpu.name) if tensorrt.runtime_config else None
        engine = TensorRtEngine(tensorrt, plan, gpu, where=str(bundle.directory / record.file), cache=cache)
        undo.callback(engine.close)
        detector = GpuDetector(gpu, engine, bundle.manifest, thresholds=thresholds, max_batch=max_batch)
        engine.keep_kernels()
        facts = {**describe(gpu), **_facts(record, tensorrt, detector)}
        undo.pop_all()
    return _OnOneGpu(detector, f"{_NAMES[record.kind]} {tensorrt.version} {record.precision}", gpu.name, facts)


def _whole(parts: Mapping[str, _OnOneGpu]) -> OpenedDetector:
    """Join the detectors of all GPUs, which `parts` has by label; facts that are equal on all are listed once."""
    opened = list(parts.values())
    gpus_running: dict[str, list[str]] = {}
    for one in opened:
        gpus_running.setdefault(one.runs, []).append(one.gpu)
    backend = "; ".join(f"{runs}, {' + '.join(gpus)}" for runs, gpus in gpus_running.items())
    if len(opened) == 1:
        return OpenedDetector(opened[0].detector, backend, opened[0].facts)
    facts: dict[str, str] = {}
    for key in dict.fromkeys(key for one in opened for key in one.facts):
        told = {place: one.facts[key] for place, one in enumerate(opened, start=1) if key in one.facts}
        if len(told) == len(opened) and len(set(told.values())) == 1:
            facts[key] = told[1]
        else:
            facts |= {f"GPU {place}: {key}": value for place, value in told.items()}
    detector = SeveralGpus({label: one.detector for label, one in parts.items()})
    return OpenedDetector(detector, backend, facts)


def _facts(record: EngineRecord, tensorrt: TensorRt, detector: GpuDetector) -> dict[str, str]:
    """Facts about the engine for `edged check`: TensorRT, file, what it was built for, CUDA graphs."""
    return {
        "TensorRT": tensorrt.title,
        "engine": f"{record.file}, built for {built_for(record)}",
        "CUDA graphs for batches of": ", ".join(map(str, sorted(detector.graph_batches))) or "none",
    }


def _runtimes(engines: Sequence[EngineRecord]) -> dict[str, TensorRt]:
    """Import the TensorRTs that built the engines, by kind; those not installed are left out.

    Raises:
        NotInstalled: none of them can be imported.
    """
    loaded: dict[str, TensorRt] = {}
    missing: list[NotInstalled] = []
    for kind in _kinds(engines):
        try:
            loaded[kind] = load(kind)
        except NotInstalled as exc:
            missing.append(exc)
    if missing and not loaded:
        other = "".join(f"; {TITLES[kind]} is here: {REMEDY}" for kind in installed() if kind not in _kinds(engines))
        raise NotInstalled("; ".join(map(str, missing)) + other)
    return loaded


def _kinds(engines: Sequence[EngineRecord]) -> list[str]:
    return list(dict.fromkeys(engine.kind for engine in engines if engine.kind in KINDS))


def _require_cuda() -> None:
    """Import CUDA's bindings, before anything else is done.

    Raises:
        NotInstalled: they are missing.
    """
    try:
        import cuda.bindings.driver  # noqa: F401, PLC0415 - only where a GPU backend is asked for
    except ImportError as exc:
        raise NotInstalled(
            f"CUDA's Python bindings cannot be imported: {exc}", remedy="pip install 'edged[gpu]'"
        ) from exc


def _select(devices: Sequence[str], need_mb: int) -> tuple[GpuFacts | None, ...]:
    try:
        from edged.gpu.nvml import read_gpus  # noqa: PLC0415 - needs nvidia-ml-py
    except ImportError as exc:
        raise NotInstalled(f"NVML's bindings cannot be imported: {exc}", remedy="pip install 'edged[gpu]'") from exc
    return select_several(devices, need_mb=need_mb, read_gpus=read_gpus)


def _require_chosen(gpu: Cuda, chosen: GpuFacts | None) -> None:
    """Raise DetectorError if CUDA runs on another GPU: it was started in this process before the choice."""
    runs_on = gpu.uuid
    if chosen is not None and not chosen.mig and runs_on and runs_on.lower() != chosen.uuid.lower():
        raise DetectorError(
            f"CUDA runs on {runs_on}, not on the chosen {chosen.uuid}: it was started before the choice",
            remedy="start the process with CUDA_VISIBLE_DEVICES set to that UUID",
        )
