"""Opens the TensorRT backend: bundle against machine first, then device, engine and detector; all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edged.core.bundle import Bundle
from edged.core.errors import DetectorError
from edged.core.types import Thresholds
from edged.gpu.choice import GpuFacts, select
from edged.gpu.detector import GpuDetector
from edged.gpu.fit import Machine, fitting, require_engine

if TYPE_CHECKING:
    from edged.gpu.cuda import Cuda


@dataclass(frozen=True, slots=True)
class OpenedDetector:
    """A detector and what it runs on.

    Attributes:
        detector: ready for the first frame.
        backend: e.g. `tensorrt 10.3.0 fp16, Orin`, for people.
        facts: device, driver, CUDA, TensorRT, module loading, free memory, graphs; for `edged check`.
    """

    detector: GpuDetector
    backend: str
    facts: Mapping[str, str]


def open_detector(
    bundle: Bundle,
    *,
    thresholds: Thresholds,
    device: str = "auto",
    precision: str = "auto",
    need_mb: int = 0,
    max_batch: int = 0,
    lazy: bool = True,
) -> OpenedDetector:
    """The detector on this machine's GPU. The CUDA and TensorRT packages are imported here and not before.

    Args:
        bundle: with an engine for this machine.
        thresholds: see GpuDetector.
        device: `auto`, an index, or the UUID of a GPU or MIG instance.
        precision: `auto`, `fp32`, `fp16` or `int8`.
        need_mb: free device memory that `auto` asks for.
        max_batch: frames in one batch at most; 0 for as many as the engine takes.
        lazy: insist on lazy module loading, see `Cuda`.

    Raises:
        BundleMismatch: no engine of that precision, or none for this machine; the message names both.
        ConfigError: `device` names no GPU of this machine.
        DataError: the engine's file is damaged.
        DetectorError: a package, the driver or the device is missing or fails.
    """
    engines = require_engine(bundle.manifest, precision=precision)
    tensorrt_version = _require_packages()
    chosen = _select(device, need_mb)
    from edged.gpu.device import describe, open_gpu, register_plugin  # noqa: PLC0415 - starts needing CUDA here

    with ExitStack() as undo:
        gpu = open_gpu(lazy=lazy)
        undo.callback(gpu.close)
        _require_chosen(gpu, chosen)
        capability = ".".join(map(str, gpu.compute_capability))
        record = fitting(engines, Machine(tensorrt_version, gpu.name, capability))
        if record.decode == "plugin":
            register_plugin(gpu)
        from edged.gpu.engine import TensorRtEngine  # noqa: PLC0415 - imports TensorRT

        engine = TensorRtEngine(bundle.read(record.file), gpu, where=str(bundle.directory / record.file))
        undo.callback(engine.close)
        detector = GpuDetector(gpu, engine, bundle.manifest, thresholds=thresholds, max_batch=max_batch)
        graphs = ", ".join(map(str, sorted(detector.graph_batches))) or "none"
        facts = {**describe(gpu), "TensorRT": tensorrt_version, "CUDA graphs for batches of": graphs}
        undo.pop_all()
    return OpenedDetector(detector, f"tensorrt {tensorrt_version} {record.precision}, {gpu.name}", facts)


def _require_packages() -> str:
    """TensorRT's version.

    Raises:
        DetectorError: TensorRT or CUDA's bindings are not installed.
    """
    try:
        import tensorrt  # noqa: PLC0415 - only where a GPU backend is asked for
    except (ImportError, OSError) as exc:  # OSError where its bindings load a library that is not there
        raise DetectorError(
            f"TensorRT's Python package cannot be imported: {exc}",
            remedy="install TensorRT for the system's Python (on a Jetson: apt install python3-libnvinfer)",
        ) from exc
    try:
        import cuda.bindings.driver  # noqa: F401, PLC0415
    except ImportError as exc:
        raise DetectorError(
            f"CUDA's Python bindings cannot be imported: {exc}", remedy="pip install 'edged[gpu]'"
        ) from exc
    return str(tensorrt.__version__)


def _select(device: str, need_mb: int) -> GpuFacts | None:
    try:
        from edged.gpu.nvml import read_gpus  # noqa: PLC0415 - needs nvidia-ml-py
    except ImportError as exc:
        raise DetectorError(f"NVML's bindings cannot be imported: {exc}", remedy="pip install 'edged[gpu]'") from exc
    return select(device, need_mb=need_mb, read_gpus=read_gpus)


def _require_chosen(gpu: Cuda, chosen: GpuFacts | None) -> None:
    """CUDA may have been started, with another GPU, before the choice was made."""
    if chosen is not None and not chosen.mig and gpu.uuid.lower() != chosen.uuid.lower():
        raise DetectorError(
            f"CUDA runs on {gpu.uuid}, not on the chosen {chosen.uuid}: it was started before the choice",
            remedy="start the process with CUDA_VISIBLE_DEVICES set to that UUID",
        )
