"""Loads an engine of TensorRT 8.5 to 11 or TensorRT for RTX, describes its tensors and makes its contexts."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edged.core.errors import BundleMismatch, DetectorError
from edged.gpu.contexts import HeldContext, OwnedContext, SharedContext
from edged.gpu.fit import REMEDY
from edged.gpu.protocols import Context, Gpu, TensorSpec
from edged.gpu.runtime_cache import RuntimeCache
from edged.gpu.tensorrt import TensorRt, log_of

if TYPE_CHECKING:
    import tensorrt as trt

logger = logging.getLogger(__name__)

_NOT_THE_ENGINE = (
    (re.compile(r"out ?of ?memory|insufficient \w*\s*memory|bad_alloc", re.IGNORECASE), "free device memory"),
    (
        re.compile(r"driver version is insufficient|old cuda driver", re.IGNORECASE),
        "update the NVIDIA driver, or take the TensorRT of the CUDA that it speaks (cu12 in place of cu13)",
    ),
)
_TYPES = (("FLOAT", "float32"), ("HALF", "float16"), ("INT32", "int32"))


class TensorRtEngine:
    """Implements `edged.gpu.protocols.Engine`.

    Contexts share their scratch memory, so no two may run at once. Register the plugin before, if the plan uses it.

    Args:
        tensorrt: the version that built the plan.
        plan: the serialised engine, from a verified bundle only: it is native code.
        gpu: current in this thread.
        where: the plan's path, for messages.
        cache: kernels kept from an earlier start; only for TensorRT for RTX, which compiles them on the device.

    Raises:
        BundleMismatch: TensorRT does not load it on this machine, or it takes no batch of 1.
        DetectorError: TensorRT cannot start, or device memory is short.
    """

    def __init__(
        self, tensorrt: TensorRt, plan: bytes, gpu: Gpu, *, where: str, cache: RuntimeCache | None = None
    ) -> None:
        self._tensorrt, self._gpu, self._cache = tensorrt, gpu, cache
        self._runtime = _runtime(tensorrt)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise _refused(tensorrt, self._runtime, plan, where)
        self._engine = engine
        self.tensors: Mapping[str, TensorSpec] = _tensors(tensorrt, engine, where)
        self._input = next(name for name, spec in self.tensors.items() if spec.is_input)
        self._batches = [_batch_range(engine, self._input, index) for index in range(engine.num_optimization_profiles)]
        if min(smallest for smallest, _ in self._batches) > 1:
            raise BundleMismatch(f"{where} takes no batch of 1: its profiles are {self._batches}", remedy=REMEDY)
        self._config = cache.configuration(tensorrt, engine) if cache is not None else None
        self._scratch = gpu.allocate(max(_scratch_bytes(engine), 1))
        self._contexts: list[HeldContext] = []
        self._shared: SharedContext | None = None

    @property
    def max_batch(self) -> int:
        """Largest batch of any profile."""
        return max(largest for _, largest in self._batches)

    @property
    def has_own_contexts(self) -> bool:
        """Whether every batch size has a context of its own, so that a CUDA graph of it stays valid."""
        exact = all((batch, batch) in self._batches for batch in range(1, self.max_batch + 1))
        return exact or self._tensorrt.shared_profiles

    def make_context(self, batch: int, stream: int) -> Context:
        """A context for one batch size: its own where this TensorRT can give each one, else a view of a shared one."""
        if self.has_own_contexts:
            context = self._new_context(self._tightest_profile(batch), stream)
            context.set_shape(self._input, (batch, *self.tensors[self._input].shape[1:]))
            return OwnedContext(context, stream)
        if self._shared is None:
            logger.info("%s: all batch sizes share one context, without CUDA graphs", self._tensorrt.title)
            widest = max(range(len(self._batches)), key=lambda index: self._batches[index][1] - self._batches[index][0])
            self._shared = SharedContext(self._new_context(widest, stream), self._input, self.tensors)
        return self._shared.sized(batch)

    def keep_kernels(self) -> None:
        """Save kernels compiled on this device for the next start. Call it after every batch size has run once."""
        if self._cache is not None:
            self._cache.keep()

    def close(self) -> None:
        """Free contexts, engine and runtime, in this order; safe to call twice."""
        if not self._scratch:
            return
        self._shared = None
        for context in self._contexts:
            context.let_go()
        self._contexts.clear()
        self._config = None
        if self._cache is not None:
            self._cache.close()
        del self._engine
        del self._runtime
        self._gpu.free(self._scratch)
        self._scratch = 0

    def _tightest_profile(self, batch: int) -> int:
        fitting = [
            (largest - smallest, index)
            for index, (smallest, largest) in enumerate(self._batches)
            if smallest <= batch <= largest
        ]
        if not fitting:
            raise DetectorError(f"the engine takes no batch of {batch}, its profiles are {self._batches}")
        return min(fitting)[1]

    def _new_context(self, profile: int, stream: int) -> HeldContext:
        made = _context_without_memory(self._tensorrt, self._engine, self._config)
        context = HeldContext(made, log_of(self._tensorrt).reasons)
        del made
        self._contexts.append(context)
        context.give_memory(self._scratch, _scratch_bytes(self._engine))
        context.use_profile(profile, stream)
        self._gpu.synchronize(stream)
        return context


def _runtime(tensorrt: TensorRt) -> trt.Runtime:
    log = log_of(tensorrt)
    try:
        made: trt.Runtime = tensorrt.module.Runtime(log)
    except TypeError as exc:  # the library returned no object
        raise DetectorError(
            f"{tensorrt.title} cannot start on this machine: {log.reasons()}",
            remedy="it needs the NVIDIA driver of its CUDA version",
        ) from exc
    return made


def _refused(tensorrt: TensorRt, runtime: trt.Runtime, plan: bytes, where: str) -> BundleMismatch | DetectorError:
    reasons = log_of(tensorrt).reasons()
    named = _invalidity(tensorrt, runtime, plan)
    message = f"{tensorrt.title} does not load {where}: {f'{named}: {reasons}' if named else reasons}"
    first = f"{named}: {reasons.partition('; ')[0]}"  # without a driver the further lines come with every failure
    for pattern, remedy in _NOT_THE_ENGINE:
        if pattern.search(first):
            return DetectorError(message, remedy=remedy)
    return BundleMismatch(message, remedy=REMEDY)


def _invalidity(tensorrt: TensorRt, runtime: Any, plan: bytes) -> str:  # noqa: ANN401 - not in all stubs
    """TensorRT's own word for what is wrong with a plan, e.g. `version mismatch`; empty where it gives none."""
    if not hasattr(runtime, "get_engine_validity"):
        return ""
    _, found = runtime.get_engine_validity(plan)
    rtx: Any = tensorrt.module
    known = rtx.EngineInvalidityDiagnostics.__members__.items()
    log_of(tensorrt).reasons()  # drop its log lines, which repeat the same
    return ", ".join(name.lower().replace("_", " ") for name, flag in known if found & int(flag.value))


def _tensors(tensorrt: TensorRt, engine: trt.ICudaEngine, where: str) -> dict[str, TensorSpec]:
    known = {getattr(tensorrt.module.DataType, name): numpy_name for name, numpy_name in _TYPES}
    specs = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name)
        dtype = known.get(kind)
        if dtype is None:
            raise BundleMismatch(f"{where}: tensor {name} is {kind}; expected float32, float16 or int32", remedy=REMEDY)
        is_input = engine.get_tensor_mode(name) == tensorrt.module.TensorIOMode.INPUT
        specs[name] = TensorSpec(tuple(engine.get_tensor_shape(name)), dtype, is_input)
    if not any(spec.is_input for spec in specs.values()):
        raise BundleMismatch(f"{where} has no input", remedy=REMEDY)
    return specs


def _batch_range(engine: trt.ICudaEngine, input_name: str, profile: int) -> tuple[int, int]:
    smallest, _best, largest = engine.get_tensor_profile_shape(input_name, profile)
    return int(smallest[0]), int(largest[0])


def _scratch_bytes(engine: trt.ICudaEngine) -> int:
    """Scratch memory that a context needs, by the attribute that this version has: 11 dropped the older one."""
    names = ("device_memory_size_v2", "device_memory_size")
    return int(next(getattr(engine, name) for name in names if hasattr(engine, name)))


def _context_without_memory(
    tensorrt: TensorRt,
    engine: trt.ICudaEngine,
    config: Any,  # noqa: ANN401 - of TensorRT for RTX
) -> trt.IExecutionContext | None:
    if config is not None:
        configured: trt.IExecutionContext | None = engine.create_execution_context(config)
        return configured
    strategies = getattr(tensorrt.module, "ExecutionContextAllocationStrategy", None)
    if strategies is None:  # before 10
        create = getattr(engine, "create_execution_context_without_device_memory")  # noqa: B009 - gone in 11
        made: trt.IExecutionContext | None = create()
        return made
    return engine.create_execution_context(strategies.USER_MANAGED)
