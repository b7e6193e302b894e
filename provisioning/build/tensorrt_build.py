"""Builds an engine from ONNX with TensorRT 8.5 to 11 or TensorRT for RTX, by one code path that asks for abilities.

The only module of provisioning that touches TensorRT; it runs in a child process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edged.core.errors import EdgedError
from edged.gpu.tensorrt import TensorRt
from provisioning.build.log import BuildLog

if TYPE_CHECKING:
    import tensorrt as trt

MOST_PROFILES = 8  # each one lengthens the build

Progress = Callable[[str, int, int], None]  # phase, step, number of steps (0 if unknown)


@dataclass(frozen=True, slots=True)
class Order:
    """What to build.

    Attributes:
        precision: fp32, fp16 or int8; a strongly typed network takes it from the graph instead.
        batch: smallest, optimal and largest batch size.
        workspace_bytes: device memory that kernels may use as scratch.
        timing_cache: of an earlier build on this machine, or empty.
        capabilities: of a portable engine, e.g. `8.6`, or CURRENT for the GPU of this machine.
    """

    precision: str
    batch: tuple[int, int, int]
    workspace_bytes: int
    timing_cache: bytes = b""
    capabilities: tuple[str, ...] = ()


CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Built:
    """A serialised engine, and the timing cache that makes the next build faster (empty if there is none)."""

    plan: bytes
    timing_cache: bytes


def build(tensorrt: TensorRt, model: bytes, order: Order, log: BuildLog, progress: Progress) -> Built:
    """Build an engine; on the current device, unless it is portable.

    Args:
        tensorrt: the loaded TensorRT.
        model: content of an ONNX file; already converted to FP16 where `tensorrt.typed` and FP16 is wanted.
        order: what to build.
        log: gets TensorRT's messages.
        progress: called during the build, by TensorRT 9.1 and later.

    Raises:
        EdgedError: the parser or the builder refused; the reasons are in `log` or in the message.
    """
    native = log.attached(tensorrt.module)
    builder = tensorrt.module.Builder(native)
    network = builder.create_network(_network_flags(tensorrt))
    _parse(tensorrt, model, network, native)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.module.MemoryPoolType.WORKSPACE, order.workspace_bytes)
    _without_foreign_kernels(tensorrt, config)
    _set_precision(tensorrt, config, order.precision)
    if tensorrt.portable:
        _set_targets(tensorrt, config, order.capabilities)
    for batch in profile_batches(tensorrt, order.batch):
        config.add_optimization_profile(_profile(builder, network, batch))
    cache = _timing_cache(config, order.timing_cache) if tensorrt.timing_cache else None
    monitor = _monitor(tensorrt, progress)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EdgedError(f"{tensorrt.title} gave no engine")
    return Built(bytes(plan), bytes(cache.serialize()) if cache is not None else b"")


def _network_flags(tensorrt: TensorRt) -> int:
    """Flags by name, because their numbers differ between versions; TensorRT 11 has neither of the two."""
    if not tensorrt.flags_types:
        return 0
    flags = tensorrt.module.NetworkDefinitionCreationFlag
    return 1 << int(getattr(flags, "STRONGLY_TYPED" if tensorrt.typed else "EXPLICIT_BATCH"))


def _set_targets(tensorrt: TensorRt, config: Any, capabilities: tuple[str, ...]) -> None:  # noqa: ANN401 - of RTX alone
    """Set the compute capabilities of a portable engine, and make it usable in CUDA graphs."""
    rtx: Any = tensorrt.module  # only it has these names
    known = rtx.ComputeCapability
    names = ["CURRENT" if each == CURRENT else f"SM{each.replace('.', '')}" for each in capabilities]
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        if not hasattr(known, name) or not config.set_compute_capability(getattr(known, name), index):
            raise EdgedError(f"{tensorrt.title} does not build for SM {capabilities[index]}")
    # Else a run may allocate memory, which a CUDA graph cannot capture.
    config.set_flag(rtx.BuilderFlag.REQUIRE_USER_ALLOCATION)


def _parse(tensorrt: TensorRt, model: bytes, network: trt.INetworkDefinition, log: trt.ILogger) -> None:
    parser: trt.OnnxParser = tensorrt.module.OnnxParser(network, log)
    if parser.parse(model):
        return
    errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
    raise EdgedError(f"{tensorrt.title} cannot parse the model: {'; '.join(errors) or 'no reason given'}")


def _parser_error(error: trt.ParserError) -> str:
    """Node, operator and reason; TensorRT 8 knows only the node's number."""
    named = getattr(error, "node_name", None)
    operator = getattr(error, "node_operator", None)
    node = f"{named()} ({operator()})" if named and operator else f"node {error.node()}"
    return f"{node}: {error.desc()}"


def _without_foreign_kernels(tensorrt: TensorRt, config: trt.IBuilderConfig) -> None:
    """Turn off cuDNN and cuBLAS, which may not be installed; TensorRT's own kernels suffice for convolutions."""
    sources = getattr(tensorrt.module, "TacticSource", None)
    foreign = [getattr(sources, name, None) for name in ("CUBLAS", "CUBLAS_LT", "CUDNN")]
    mask = sum(1 << int(source) for source in foreign if source is not None)
    if mask:
        config.set_tactic_sources(config.get_tactic_sources() & ~mask)


def _set_precision(tensorrt: TensorRt, config: trt.IBuilderConfig, precision: str) -> None:
    """Set the flags of a weakly typed network; with INT8, layers without Q/DQ may run in FP16."""
    if tensorrt.typed or precision == "fp32":
        return
    for name in ("FP16", "INT8")[: 2 if precision == "int8" else 1]:
        config.set_flag(getattr(tensorrt.module.BuilderFlag, name))


def profile_batches(tensorrt: TensorRt, batch: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Smallest, optimal and largest batch of each optimisation profile.

    TensorRT chooses kernels for the optimal batch of a profile. A daemon mostly runs single frames, so batch 1 has a
    profile of its own. Before TensorRT 10, contexts cannot share a profile, so every batch size gets one, up to
    MOST_PROFILES.
    """
    smallest, best, largest = batch
    if not tensorrt.shared_profiles:
        wide = largest - smallest >= MOST_PROFILES
        return [batch] if wide else [(size, size, size) for size in range(smallest, largest + 1)]
    if smallest > 1 or largest == 1:
        return [batch]
    return [(1, 1, 1), (2, max(best, 2), largest)]


def _profile(
    builder: trt.Builder, network: trt.INetworkDefinition, batch: tuple[int, int, int]
) -> trt.IOptimizationProfile:
    """A profile with the given smallest, optimal and largest batch; the other sides of the input are fixed."""
    images = network.get_input(0)
    rest = tuple(images.shape)[1:]
    profile = builder.create_optimization_profile()
    profile.set_shape(images.name, *[(size, *rest) for size in batch])
    return profile


def _timing_cache(config: trt.IBuilderConfig, blob: bytes) -> Any:  # noqa: ANN401 - ITimingCache or None by version
    """A timing cache for this build, filled with `blob` if TensorRT accepts it. It must live as long as the build."""
    for content in dict.fromkeys((blob, b"")):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    return None


def _monitor(tensorrt: TensorRt, progress: Progress) -> Any:  # noqa: ANN401 - a class that older versions do not have
    """A progress monitor; None before TensorRT 9.1."""
    base: Any = getattr(tensorrt.module, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc] # its base is known at run time only
        """Passes the steps of each phase to `progress`."""

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
