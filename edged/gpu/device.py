"""A device ready for work: CUDA started, the kernels compiled and loaded, the plugin registered."""

from __future__ import annotations

from importlib import import_module

from edged.core.errors import DetectorError
from edged.gpu.choice import available_bytes, is_jetson
from edged.gpu.cuda import Cuda, current_context, loading_mode
from edged.gpu.driver import driver_cuda_version
from edged.gpu.kernel_cache import MODULES, cache_directory, compiled
from edged.gpu.nvrtc import Nvrtc
from plugins.yolo_layer.launch import Launch

_plugin_runs_on: tuple[Cuda, ...] = ()  # in the order registered


def open_gpu(ordinal: int = 0, *, lazy: bool = True) -> Cuda:
    """Start CUDA on a device and load our kernels.

    Args:
        ordinal: among those that CUDA_VISIBLE_DEVICES leaves.
        lazy: see `Cuda`.

    Raises:
        DetectorError: no driver, no device, no compiler, or a kernel that does not compile.
    """
    gpu = Cuda(ordinal, lazy=lazy)
    try:
        compiler = Nvrtc()
        for module in MODULES:
            code = compiled(
                module,
                compiler=compiler,
                compute_capability=gpu.compute_capability,
                directory=cache_directory(),
            )
            gpu.load(code, module.kernels)
    except BaseException:
        gpu.close()
        raise
    return gpu


def register_plugin(gpu: Cuda) -> None:
    """Make YoloLayer_TRT known to TensorRT 10.0 and up, before a model is parsed or an engine deserialised.

    Once for each device: TensorRT knows one plugin a process, which then runs on all of them.

    Raises:
        DetectorError: these bindings cannot run it.
    """
    global _plugin_runs_on  # noqa: PLW0603 - replaced as a whole: another thread may be looking through it
    _plugin_runs_on = (*(other for other in _plugin_runs_on if not other.closed), gpu)
    try:
        import_module("plugins.yolo_layer.plugin").register(launch_where_current)
    except RuntimeError as exc:
        raise DetectorError(
            f"the decode plugin cannot be used: {exc}", remedy='provision with decode = "kernel"'
        ) from exc


def launch_where_current(launch: Launch, stream: int) -> None:
    """Run a kernel on the device that is current in the calling thread: where TensorRT enqueues, that of its engine.

    Raises:
        DetectorError: the plugin was not registered for that device, or the device refuses the launch.
    """
    context = current_context()
    there = [gpu for gpu in _plugin_runs_on if gpu.context == context and not gpu.closed]
    if not there:
        raise DetectorError("TensorRT runs the decode plugin on a GPU for which it was not registered")
    # While a model is replaced two hold the same device; each runs its own kernels, which go when it is closed.
    next((gpu for gpu in there if gpu.has_made(stream)), there[-1]).launch(launch, stream)


def describe(gpu: Cuda) -> dict[str, str]:
    """What `edged check` tells of the device: name, driver, CUDA, module loading, free memory."""
    free_bytes, total_bytes = gpu.memory_bytes()
    if is_jetson():  # shared with the processor, and CUDA leaves out what the page cache would give back
        free_bytes = available_bytes()
    capability = ".".join(map(str, gpu.compute_capability))
    return {
        "device": f"{gpu.name}, SM {capability}, {gpu.uuid or 'UUID unknown'}",
        "driver": _driver(),
        "CUDA": driver_cuda_version(),
        "module loading": loading_mode().lower(),
        "free memory": f"{free_bytes >> 20} of {total_bytes >> 20} MB",
    }


def _driver() -> str:
    try:
        from edged.gpu.nvml import driver_version  # noqa: PLC0415 - needs nvidia-ml-py

        return driver_version()
    except (ImportError, DetectorError):
        return "unknown (NVML does not say)"  # as on some Jetsons; the GPU works without
