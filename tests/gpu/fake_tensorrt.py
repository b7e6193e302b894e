"""TensorRT's runtime as its versions offer it: 8.5, 10.3 and 11 differ in what exists, and anything may fail."""

from __future__ import annotations

import types
import weakref
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeWorld:
    """What the fake TensorRT does, and what was done with it.

    Attributes:
        version: of TensorRT.
        profiles: smallest and largest batch of each optimisation profile.
        refuse: names of calls that fail as TensorRT's do: None or False, and a line in the log.
        log_line: that line.
    """

    version: str = "10.3.0"
    profiles: tuple[tuple[int, int], ...] = ((1, 4),)
    dtype: str = "FLOAT"
    refuse: set[str] = field(default_factory=set)
    log_line: str = "reason from the log"
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    logger: Any = None

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

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
    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        self.num_io_tensors = len(SHAPES)
        self.num_optimization_profiles = len(world.profiles)
        if world.major < 11:
            self.device_memory_size = 4096
        if world.major >= 10:
            self.device_memory_size_v2 = 4096
        if world.major < 10:
            self.create_execution_context_without_device_memory = self._create
        else:
            self.create_execution_context = lambda strategy: self._create() if strategy == "USER_MANAGED" else None

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


def fake_tensorrt(world: FakeWorld) -> types.ModuleType:
    """A module to put in place of `tensorrt`."""
    module: Any = types.ModuleType("tensorrt")

    class Runtime:
        def __init__(self, logger: Any) -> None:
            world.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
            return FakeEngine(world) if world.attempt("deserialize", plan) else None

    module.__version__ = world.version
    module.ILogger = FakeLogger
    module.Runtime = Runtime
    module.DataType = types.SimpleNamespace(FLOAT="FLOAT", HALF="HALF", INT32="INT32", INT8="INT8")
    module.TensorIOMode = types.SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
    if world.major >= 10:
        module.ExecutionContextAllocationStrategy = types.SimpleNamespace(USER_MANAGED="USER_MANAGED")
    made: types.ModuleType = module
    return made
