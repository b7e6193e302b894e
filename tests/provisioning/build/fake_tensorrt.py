"""A TensorRT made of Python, of any version from 8.5 to 11 or that for RTX; it builds nothing and fails as it is told.

Only what the version has is there: a call that the real one would not know raises AttributeError here as well.
"""

from __future__ import annotations

import enum
import os
import signal
import types
from collections.abc import Callable
from typing import Any


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING, Severity.INFO

    def __init__(self) -> None:
        self.initialised = True


_enum: Any = enum.IntEnum  # its members are decided at run time


class ParserError:
    def __init__(self, description: str, *, names_nodes: bool) -> None:
        self._description = description
        if names_nodes:
            self.node_name: Callable[[], str] = lambda: "/model.0/Conv"
            self.node_operator: Callable[[], str] = lambda: "Conv"

    def desc(self) -> str:
        return self._description

    def node(self) -> int:
        return 3


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+"


def make(version: str, failure: str = "", *, rtx: bool = False) -> types.ModuleType:
    """A module `tensorrt` of this version, or `tensorrt_rtx`.

    Args:
        version: e.g. `8.5.3.1`.
        failure: capability, parse, none, memory, resource, killed, segfault, silent, printed, builder, or empty for
            success.
    """
    numbers = (11, 0) if rtx else tuple(int(part) for part in version.split("."))
    trt: Any = types.ModuleType("tensorrt")
    trt.__version__ = version
    trt.ILogger = ILogger
    trt.ParserError = ParserError
    trt.calls = []
    if numbers >= (10, 0):
        trt.IPluginV3 = object
    if numbers >= (9, 1):
        trt.IProgressMonitor = type("IProgressMonitor", (), {})
    flags = {"EXPLICIT_BATCH": 0} if numbers < (11,) else {}
    strong = {"STRONGLY_TYPED": 1 if numbers < (11,) else 0} if numbers >= (9, 1) else {}
    trt.NetworkDefinitionCreationFlag = _enum("NetworkDefinitionCreationFlag", {**flags, **strong})
    precision = {"FP16": 0, "INT8": 1} if numbers < (11,) else {}
    user_allocation = {"REQUIRE_USER_ALLOCATION": 5} if rtx else {}
    trt.BuilderFlag = _enum("BuilderFlag", {**precision, "REFIT": 4, **user_allocation})
    if rtx:
        names = ("CURRENT", "SM75", "SM86", "SM89", "SM120")
        trt.ComputeCapability = _enum("ComputeCapability", {name: number for number, name in enumerate(names, 1)})
    trt.MemoryPoolType = _enum("MemoryPoolType", {"WORKSPACE": 0})
    if numbers < (11,):
        trt.TacticSource = _enum("TacticSource", {"CUBLAS": 0, "CUBLAS_LT": 1, "CUDNN": 2, "EDGE_MASK": 3})
    trt.Builder = _builder(trt, failure)
    trt.OnnxParser = _parser(trt, failure, names_nodes=numbers >= (10,))
    trt.INetworkDefinition = trt.IBuilderConfig = trt.IOptimizationProfile = object
    module: types.ModuleType = trt
    return module


def _parser(trt: Any, failure: str, *, names_nodes: bool) -> type:
    class OnnxParser:
        def __init__(self, _network: Any, _log: Any) -> None:
            self.num_errors = 2 if failure == "parse" else 0

        def parse(self, model: bytes) -> bool:
            trt.calls.append(("parse", len(model)))
            return failure != "parse"

        def get_error(self, index: int) -> ParserError:
            return ParserError(f"unsupported thing {index}", names_nodes=names_nodes)

    return OnnxParser


def _builder(trt: Any, failure: str) -> type:
    class Builder:
        def __init__(self, log: Any) -> None:
            if failure == "builder":
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self.log = log

        def create_network(self, flags: int = 0) -> Any:
            trt.calls.append(("network", flags))
            images = types.SimpleNamespace(name="images", shape=(-1, 3, 64, 96))
            return types.SimpleNamespace(get_input=lambda _index: images)

        def create_builder_config(self) -> Any:
            return _Config(trt, failure)

        def create_optimization_profile(self) -> Any:
            def set_shape(*arguments: Any) -> None:
                trt.calls.append(("profile", arguments))

            return types.SimpleNamespace(set_shape=set_shape)

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            del network
            monitor = getattr(config, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("Building engine", None, 2)
                monitor.step_complete("Building engine", 0)
                monitor.phase_finish("Building engine")
            return _fail(failure, self.log) if failure else b"plan"

    return Builder


def _fail(failure: str, log: Any) -> bytes | None:
    said = {
        "memory": "[defaultAllocator.cpp::allocate] OutOfMemory: Requested size was 4096 bytes",
        "resource": "Unable to load library: libnvinfer_builder_resource.so.10.3.0",
        "none": "Could not find any implementation for node /model.0/Conv",
        "driver": "CUDA driver version is insufficient for CUDA runtime version",
        "nvml": "NVML initialization failed: driver/library not found",
    }
    if failure in said:
        log.log(Severity.WARNING, "a warning before it")
        log.log(Severity.ERROR, said[failure])
        return None
    if failure == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if failure == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if failure == "silent":
        os._exit(0)
    if failure == "raises":
        raise RuntimeError("the fake was told to raise")
    return None


class _Config:
    def __init__(self, trt: Any, failure: str) -> None:
        self._calls = trt.calls
        self._failure = failure

    def set_compute_capability(self, capability: Any, index: int) -> bool:
        self._calls.append(("capability", capability.name, index))
        return self._failure != "capability"

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self._calls.append(("pool", pool.name, size))

    def set_flag(self, flag: Any) -> None:
        self._calls.append(("flag", flag.name))

    def add_optimization_profile(self, profile: Any) -> None: ...

    def get_tactic_sources(self) -> int:
        return 0b1111

    def set_tactic_sources(self, mask: int) -> bool:
        self._calls.append(("tactics", mask))
        return True

    def create_timing_cache(self, content: bytes) -> TimingCache | None:
        self._calls.append(("cache", content))
        return None if content == b"of another machine" else TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, *, ignore_mismatch: bool) -> bool:
        return bool(cache.content or not ignore_mismatch)
