"""TensorRT's runtime as its versions offer it (8.5, 10.3, 11, that for RTX); anything may fail."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edged.gpu.tensorrt import TensorRt


@dataclass
class FakeWorld:
    """What the fake TensorRT does, and what was done with it.

    Attributes:
        version: of TensorRT.
        profiles: smallest and largest batch of each optimisation profile.
        refuse: names of calls that fail as TensorRT's do: None or False, and a line in the log.
        log_line: that line.
        kind: `tensorrt` or `rtx`.
        invalidity: what `get_engine_validity` finds, a sum of flags.
        capturable: what a context of `rtx` says of graphs.
    """

    version: str = "10.3.0"
    profiles: tuple[tuple[int, int], ...] = ((1, 4),)
    dtype: str = "FLOAT"
    refuse: set[str] = field(default_factory=set)
    log_line: str = "reason from the log"
    kind: str = "tensorrt"
    invalidity: int = 0
    capturable: bool = True
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    logger: Any = None

    @property
    def major(self) -> int:
        return 11 if self.kind == "rtx" else int(self.version.split(".")[0])

    def attempt(self, name: str, *details: Any) -> bool:
        self.calls.append((name, *details))
        if name in self.refuse:
            self.logger.log(Severity.ERROR, self.log_line)
            return False
        return True


class Severity:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class FakeLogger:
    Severity = Severity

    def __init__(self) -> None:
        pass


SHAPES = {"images": (-1, 3, 64, 64), "p3": (-1, 24, 8, 8), "p4": (-1, 24, 4, 4), "p5": (-1, 24, 2, 2)}


class FakeContext:
    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        weakref.finalize(self, world.calls.append, ("context_freed",))
        self.shape: tuple[int, ...] = ()
        self.device_memory = 0
        if world.major >= 10:
            self.set_device_memory = lambda address, size: world.attempt("set_device_memory", address, size)
        if world.kind == "rtx":
            self.is_stream_capturable = lambda stream: world.attempt("capturable", stream) and world.capturable

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        return self.world.attempt("profile", index, stream)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return self.world.attempt("shape", name, shape)

    def infer_shapes(self) -> list[str]:
        return [] if self.world.attempt("infer_shapes") else ["images"]

    def set_tensor_address(self, name: str, address: int) -> bool:
        return self.world.attempt("address", name, address)

    def execute_async_v3(self, stream: int) -> bool:
        return self.world.attempt("execute", self.shape[0], stream)


class FakeEngine:
    create_execution_context: Callable[..., FakeContext | None]

    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        self.num_io_tensors = len(SHAPES)
        self.num_optimization_profiles = len(world.profiles)
        if world.major < 11:
            self.device_memory_size = 4096
        if world.major >= 10:
            self.device_memory_size_v2 = 4096
        if world.kind == "rtx":
            self.create_runtime_config = lambda: FakeRuntimeConfig(world)
            self.create_execution_context = self._create_configured
        elif world.major < 10:
            self.create_execution_context_without_device_memory = self._create
        else:
            self.create_execution_context = lambda strategy: self._create() if strategy == "USER_MANAGED" else None

    def _create_configured(self, config: FakeRuntimeConfig) -> FakeContext | None:
        self.world.calls.append(("configured", dict(vars(config))))
        return self._create()

    def _create(self) -> FakeContext | None:
        return FakeContext(self.world) if self.world.attempt("create_context") else None

    def get_tensor_name(self, index: int) -> str:
        return list(SHAPES)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return SHAPES[name]

    def get_tensor_dtype(self, _name: str) -> str:
        return self.world.dtype

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "images" else "OUTPUT"

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        smallest, largest = self.world.profiles[index]
        return [(batch, *SHAPES[name][1:]) for batch in (smallest, largest, largest)]


class FakeRuntimeCache:
    """Takes what it made itself, and nothing else."""

    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        self.content = b""

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"kernels"):
            return False
        self.content = blob
        return True

    def serialize(self) -> bytes:
        ran = sorted({call[1] for call in self.world.calls if call[0] == "execute"})
        return max(self.content, b"kernels of %d" % len(ran))


class FakeRuntimeConfig:
    def __init__(self, world: FakeWorld) -> None:
        self._world = world
        self.strategy = ""
        self.dynamic_shapes_kernel_specialization_strategy = "LAZY"
        self.cuda_graph_strategy = "WHOLE_GRAPH_CAPTURE"

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> FakeRuntimeCache:
        return FakeRuntimeCache(self._world)

    def set_runtime_cache(self, cache: FakeRuntimeCache) -> bool:
        self.cache = cache
        return self._world.attempt("set_runtime_cache")


def fake_tensorrt(world: FakeWorld) -> TensorRt:
    """That world's TensorRT, as if it were imported."""
    module: Any = types.ModuleType("tensorrt")

    class Runtime:
        def __init__(self, logger: Any) -> None:
            world.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
            return FakeEngine(world) if world.attempt("deserialize", plan) else None

    if world.kind == "rtx":
        Runtime.get_engine_validity = lambda _self, _plan: ("INVALID", world.invalidity)  # type: ignore[attr-defined]
        module.CudaGraphStrategy = types.SimpleNamespace(DISABLED="DISABLED")
        module.DynamicShapesKernelSpecializationStrategy = types.SimpleNamespace(EAGER="EAGER")
        flags = {"VERSION_MISMATCH": 1, "UNSUPPORTED_CC": 2, "INSUFFICIENT_GPU_MEMORY": 16, "MALFORMED_ENGINE": 32}
        members = {name: types.SimpleNamespace(value=value) for name, value in flags.items()}
        module.EngineInvalidityDiagnostics = types.SimpleNamespace(__members__=members)
    module.__version__ = world.version
    module.ILogger = FakeLogger
    module.Runtime = Runtime
    module.DataType = types.SimpleNamespace(FLOAT="FLOAT", HALF="HALF", INT32="INT32", INT8="INT8")
    module.TensorIOMode = types.SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
    if world.major >= 10:
        module.ExecutionContextAllocationStrategy = types.SimpleNamespace(USER_MANAGED="USER_MANAGED")
    return TensorRt(world.kind, module)
