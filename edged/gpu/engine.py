"""A TensorRT engine, versions 8.5 to 11: loaded, described, and set up once for each batch size."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping

import tensorrt as trt

from edged.core.errors import BundleMismatch, DetectorError
from edged.gpu.fit import REMEDY
from edged.gpu.protocols import Context, Gpu, TensorSpec

logger = logging.getLogger(__name__)

_LOG_LINES = 50
_SHARED_PROFILES_SINCE = 10  # below, every context that lives at the same time needs an optimisation profile of its own
_TYPES = ((trt.DataType.FLOAT, "float32"), (trt.DataType.HALF, "float16"), (trt.DataType.INT32, "int32"))


class TensorRtLog(trt.ILogger):  # type: ignore[misc]
    """TensorRT's log, bridged to ours; the last lines are kept, as reasons for failures are found nowhere else."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.tail: deque[str] = deque(maxlen=_LOG_LINES)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT from any thread; never raises."""
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.tail.append(msg)
            logger.debug("TensorRT: %s", msg)  # the error that comes of it carries the tail
        elif severity == trt.ILogger.Severity.WARNING:
            logger.warning("TensorRT: %s", msg)

    def reasons(self) -> str:
        """What was said last, for a message; forgotten then, so that no later failure is explained by it."""
        said = "; ".join(list(self.tail)[-3:])
        self.tail.clear()
        return said or "it gave no reason"


LOG = TensorRtLog()  # TensorRT keeps the first logger of a process whatever is passed later


def version() -> tuple[int, ...]:
    """Of the installed TensorRT, e.g. (10, 3, 0)."""
    return tuple(int(part) for part in trt.__version__.split(".")[:3])


class TensorRtEngine:
    """Implements `edged.gpu.protocols.Engine`.

    Contexts share their scratch memory, so no two may run at once. The plugin must be registered before.

    Args:
        plan: the serialised engine, from a verified bundle: it is native code.
        gpu: current in this thread.
        where: for messages.

    Raises:
        BundleMismatch: TensorRT does not take it on this machine.
        DetectorError: TensorRT cannot start, or device memory is short.
    """

    def __init__(self, plan: bytes, gpu: Gpu, *, where: str) -> None:
        self._gpu = gpu
        self._runtime = _runtime()
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise _refused(where)
        self._engine = engine
        self.tensors: Mapping[str, TensorSpec] = _tensors(engine, where)
        self._input = next(name for name, spec in self.tensors.items() if spec.is_input)
        self._batches = [_batch_range(engine, self._input, index) for index in range(engine.num_optimization_profiles)]
        if min(smallest for smallest, _ in self._batches) > 1:
            raise BundleMismatch(f"{where} takes no batch of 1: its profiles are {self._batches}", remedy=REMEDY)
        self._scratch = gpu.allocate(max(_scratch_bytes(engine), 1))
        self._contexts: list[HeldContext] = []
        self._shared: SharedContext | None = None

    @property
    def max_batch(self) -> int:
        """Largest batch of any profile."""
        return max(largest for _, largest in self._batches)

    def make_context(self, batch: int, stream: int) -> Context:
        """A context of its own where this TensorRT can give every batch size one, else one that all take turns on."""
        if self._own_contexts:
            context = self._new_context(self._tightest_profile(batch), stream)
            _set_shape(context.get(), self._input, (batch, *self.tensors[self._input].shape[1:]))
            return OwnedContext(context)
        if self._shared is None:
            logger.info("TensorRT %s: all batch sizes share one context, without CUDA graphs", trt.__version__)
            widest = max(range(len(self._batches)), key=lambda index: self._batches[index][1] - self._batches[index][0])
            self._shared = SharedContext(self._new_context(widest, stream), self._input, self.tensors)
        return self._shared.sized(batch)

    def close(self) -> None:
        """Free contexts, whoever else holds them, engine and runtime, in this order."""
        if not self._scratch:
            return
        self._shared = None
        for context in self._contexts:
            context.let_go()
        self._contexts.clear()
        del self._engine
        del self._runtime
        self._gpu.free(self._scratch)
        self._scratch = 0

    @property
    def _own_contexts(self) -> bool:
        exact = all((batch, batch) in self._batches for batch in range(1, self.max_batch + 1))
        return exact or version()[0] >= _SHARED_PROFILES_SINCE

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
        context = HeldContext(_context_without_memory(self._engine))
        self._contexts.append(context)
        _give_memory(context.get(), self._scratch, _scratch_bytes(self._engine))
        if not context.get().set_optimization_profile_async(profile, stream):
            raise DetectorError(f"TensorRT refused optimisation profile {profile}: {LOG.reasons()}")
        self._gpu.synchronize(stream)
        return context


class HeldContext:
    """The only reference to a context: TensorRT frees one with its last reference, and a traceback holds many."""

    def __init__(self, context: trt.IExecutionContext | None) -> None:
        self._context = context

    def get(self) -> trt.IExecutionContext:
        """The context, for one call."""
        if self._context is None:
            raise DetectorError(f"TensorRT made no execution context: {LOG.reasons()}")
        return self._context

    def let_go(self) -> None:
        """Free it."""
        self._context = None


class OwnedContext:
    """A context that only ever runs one batch size, so that a captured graph of it stays true."""

    can_be_captured = True

    def __init__(self, context: HeldContext) -> None:
        self._context = context

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Give every tensor its device address."""
        _bind(self._context.get(), addresses)

    def enqueue(self, stream: int) -> None:
        """Run."""
        _execute(self._context.get(), stream)


class SharedContext:
    """One context for several batch sizes: reshaped whenever another size comes than before."""

    def __init__(self, context: HeldContext, input_name: str, tensors: Mapping[str, TensorSpec]) -> None:
        self.context = context
        self.shaped_for = 0
        self._input = input_name
        self._rest = tensors[input_name].shape[1:]

    def sized(self, batch: int) -> SizedContext:
        """Its view for one batch size."""
        return SizedContext(self, batch)

    def reshape(self, batch: int) -> None:
        """Make ready for a batch size."""
        if self.shaped_for != batch:
            _set_shape(self.context.get(), self._input, (batch, *self._rest))
            self.shaped_for = batch


class SizedContext:
    """One batch size of a shared context. A graph of it would go stale with the next other size."""

    can_be_captured = False

    def __init__(self, shared: SharedContext, batch: int) -> None:
        self._shared = shared
        self._batch = batch

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Give every tensor its device address; the same for all sizes."""
        self._shared.reshape(self._batch)
        _bind(self._shared.context.get(), addresses)

    def enqueue(self, stream: int) -> None:
        """Run."""
        self._shared.reshape(self._batch)
        _execute(self._shared.context.get(), stream)


def _runtime() -> trt.Runtime:
    try:
        return trt.Runtime(LOG)
    except TypeError as exc:  # how the bindings say that the library gave no object
        raise DetectorError(
            f"TensorRT {trt.__version__} cannot start on this machine: {LOG.reasons()}",
            remedy="it needs the NVIDIA driver of its CUDA version",
        ) from exc


def _refused(where: str) -> BundleMismatch | DetectorError:
    reasons = LOG.reasons()
    message = f"TensorRT {trt.__version__} does not load {where}: {reasons}"
    if "memory" in reasons.lower():
        return DetectorError(message, remedy="free device memory")
    return BundleMismatch(message, remedy=REMEDY)


def _tensors(engine: trt.ICudaEngine, where: str) -> dict[str, TensorSpec]:
    specs = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name)
        dtype = next((numpy_name for known, numpy_name in _TYPES if known == kind), None)
        if dtype is None:
            raise BundleMismatch(f"{where}: tensor {name} is {kind}; expected float32, float16 or int32", remedy=REMEDY)
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        specs[name] = TensorSpec(tuple(engine.get_tensor_shape(name)), dtype, is_input)
    if not any(spec.is_input for spec in specs.values()):
        raise BundleMismatch(f"{where} has no input", remedy=REMEDY)
    return specs


def _batch_range(engine: trt.ICudaEngine, input_name: str, profile: int) -> tuple[int, int]:
    smallest, _best, largest = engine.get_tensor_profile_shape(input_name, profile)
    return int(smallest[0]), int(largest[0])


def _scratch_bytes(engine: trt.ICudaEngine) -> int:
    """By the name that this version has: 11 dropped the older one."""
    names = ("device_memory_size_v2", "device_memory_size")
    return int(next(getattr(engine, name) for name in names if hasattr(engine, name)))


def _context_without_memory(engine: trt.ICudaEngine) -> trt.IExecutionContext | None:
    strategies = getattr(trt, "ExecutionContextAllocationStrategy", None)
    if strategies is None:  # before 10
        create = getattr(engine, "create_execution_context_without_device_memory")  # noqa: B009 - gone in 11
        made: trt.IExecutionContext | None = create()
        return made
    return engine.create_execution_context(strategies.USER_MANAGED)


def _give_memory(context: trt.IExecutionContext, address: int, nbytes: int) -> None:
    if hasattr(context, "set_device_memory"):
        context.set_device_memory(address, nbytes)
    else:
        context.device_memory = address


def _set_shape(context: trt.IExecutionContext, name: str, shape: tuple[int, ...]) -> None:
    if not context.set_input_shape(name, shape):
        raise DetectorError(f"TensorRT refused the shape {list(shape)} for {name}: {LOG.reasons()}")
    missing = context.infer_shapes() if hasattr(context, "infer_shapes") else []
    if missing:
        raise DetectorError(f"TensorRT lacks a shape for {', '.join(missing)}")


def _bind(context: trt.IExecutionContext, addresses: Mapping[str, int]) -> None:
    for name, address in addresses.items():
        if not context.set_tensor_address(name, address):
            raise DetectorError(f"TensorRT refused the address of {name}: {LOG.reasons()}")


def _execute(context: trt.IExecutionContext, stream: int) -> None:
    if not context.execute_async_v3(stream):
        raise DetectorError(f"TensorRT could not enqueue the network: {LOG.reasons()}")
