"""ONNX to a TensorRT engine, versions 8.5 to 11 by one code path that asks what the installed one offers.

The only module of provisioning that touches TensorRT; it runs in a child process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorrt as trt

from edged.core.errors import EdgedError

LOG_LINES = 50
STRONG_SINCE = (10, 12)  # NVIDIA's advice; the flag itself is older
PYTHON_PLUGINS_SINCE = (10, 0)
MOST_PROFILES = 8  # each one lengthens the build

Progress = Callable[[str, int, int], None]  # phase, step, of how many


@dataclass(frozen=True, slots=True)
class Order:
    """What to build.

    Attributes:
        precision: fp32, fp16 or int8; a strongly typed network takes it from the graph instead.
        batch: smallest, optimal and largest.
        workspace_bytes: device memory for tactics.
        timing_cache: of an earlier build on this machine, or empty.
    """

    precision: str
    batch: tuple[int, int, int]
    workspace_bytes: int
    timing_cache: bytes


@dataclass(frozen=True, slots=True)
class Built:
    """An engine and what makes the next build faster."""

    plan: bytes
    timing_cache: bytes


class Log(trt.ILogger):  # type: ignore[misc] # Any where TensorRT is not installed
    """Keeps the last lines of TensorRT's log; one for each process, as TensorRT wants it."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.lines: deque[str] = deque(maxlen=LOG_LINES)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT from any thread; never raises."""
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR, trt.ILogger.WARNING):
            self.lines.append(f"{severity.name}: {msg}")


def full_version() -> str:
    """As the package states it: engines are bound to all of it."""
    return str(trt.__version__)


def version() -> tuple[int, ...]:
    """Of the installed TensorRT, e.g. (10, 3, 0)."""
    return tuple(int(part) for part in trt.__version__.split(".")[:3])


def is_strongly_typed() -> bool:
    """Whether networks are built strongly typed: always from 11, by advice from 10.12."""
    return version() >= STRONG_SINCE


def has_python_plugins() -> bool:
    """Whether a plugin written in Python can be part of an engine."""
    return version() >= PYTHON_PLUGINS_SINCE and hasattr(trt, "IPluginV3")


def build(model: bytes, order: Order, log: Log, progress: Progress) -> Built:
    """Build an engine on the current device.

    Args:
        model: ONNX; typed FP16 where `is_strongly_typed()`.
        order: what to build.
        log: gets TensorRT's messages.
        progress: called where the version can tell (9.1 and up).

    Raises:
        EdgedError: the parser or the builder refused; the reasons are in `log` or in the message.
    """
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags())
    _parse(model, network, log)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace_bytes)
    _without_foreign_kernels(config)
    _set_precision(config, order.precision)
    for batch in profile_batches(order.batch):
        config.add_optimization_profile(_profile(builder, network, batch))
    cache = _timing_cache(config, order.timing_cache)
    monitor = _monitor(progress)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EdgedError("TensorRT gave no engine")
    return Built(bytes(plan), bytes(cache.serialize()) if cache is not None else b"")


def _network_flags() -> int:
    """By name: numbers of flags differ between versions, and 11 has neither of the two."""
    flags = trt.NetworkDefinitionCreationFlag
    name = "STRONGLY_TYPED" if is_strongly_typed() else "EXPLICIT_BATCH"
    flag = getattr(flags, name, None)
    return 0 if flag is None or version() >= (11,) else 1 << int(flag)


def _parse(model: bytes, network: trt.INetworkDefinition, log: Log) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse(model):
        return
    errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
    raise EdgedError(f"TensorRT {trt.__version__} cannot parse the model: {'; '.join(errors) or 'no reason given'}")


def _parser_error(error: trt.ParserError) -> str:
    """Node, operator and reason; 8.x knows the node's number only."""
    named = getattr(error, "node_name", None)
    operator = getattr(error, "node_operator", None)
    node = f"{named()} ({operator()})" if named and operator else f"node {error.node()}"
    return f"{node}: {error.desc()}"


def _without_foreign_kernels(config: trt.IBuilderConfig) -> None:
    """TensorRT's own kernels suffice for convolutions; cuDNN and cuBLAS, where it still knows them, may be missing."""
    sources = getattr(trt, "TacticSource", None)
    foreign = [getattr(sources, name, None) for name in ("CUBLAS", "CUBLAS_LT", "CUDNN")]
    mask = sum(1 << int(source) for source in foreign if source is not None)
    if mask:
        config.set_tactic_sources(config.get_tactic_sources() & ~mask)


def _set_precision(config: trt.IBuilderConfig, precision: str) -> None:
    """Flags for a weakly typed network; INT8 lets the rest run as FP16."""
    if is_strongly_typed() or precision == "fp32":
        return
    for name in ("FP16", "INT8")[: 2 if precision == "int8" else 1]:
        config.set_flag(getattr(trt.BuilderFlag, name))


def profile_batches(batch: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Smallest, optimal and largest batch of each optimisation profile.

    Before TensorRT 10 contexts that live side by side need a profile each, so every batch size gets its own.
    """
    smallest, _, largest = batch
    if version() >= (10,) or largest - smallest >= MOST_PROFILES:
        return [batch]
    return [(size, size, size) for size in range(smallest, largest + 1)]


def _profile(
    builder: trt.Builder, network: trt.INetworkDefinition, batch: tuple[int, int, int]
) -> trt.IOptimizationProfile:
    """Shapes of the one input: its own size, the batch range in front."""
    images = network.get_input(0)
    rest = tuple(images.shape)[1:]
    profile = builder.create_optimization_profile()
    profile.set_shape(images.name, *[(size, *rest) for size in batch])
    return profile


def _timing_cache(config: trt.IBuilderConfig, blob: bytes) -> Any:  # noqa: ANN401 - ITimingCache or None by version
    """A cache for this build, filled by an earlier one where TensorRT accepts it; must live as long as the build."""
    for content in dict.fromkeys((blob, b"")):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    return None


def _monitor(progress: Progress) -> Any:  # noqa: ANN401 - a class that older versions do not have
    """A progress monitor, or None before 9.1."""
    base: Any = getattr(trt, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc] # its base is known at run time only
        """Hands the steps of each phase on."""

        def __init__(self) -> None:
            base.__init__(self)
            self.phases: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            self.phases[phase_name] = num_steps
            progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self.phases.get(phase_name, 0))
            return True  # False would cancel the build

        def phase_finish(self, phase_name: str) -> None:
            steps = self.phases.pop(phase_name, 0)
            progress(phase_name, steps, steps)

    return Monitor()
