"""Prepares a device: starts CUDA, compiles and loads the kernels, registers the plugin."""

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
    """Start CUDA on a device and load edged's kernels.

    Args:
        ordinal: the device's number among those that CUDA_VISIBLE_DEVICES allows.
        lazy: require lazy module loading.

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
    """Register YoloLayer_TRT with TensorRT 10.0 and up, before a model is parsed or an engine deserialised.

    Call it once for each device: TensorRT keeps one plugin per process, which runs on all of them.

    Raises:
        DetectorError: TensorRT's Python package cannot run it.
    """
    global _plugin_runs_on  # noqa: PLW0603 - replaced as a whole: another thread may be reading it
    _plugin_runs_on = (*(other for other in _plugin_runs_on if not other.closed), gpu)
    try:
        import_module("plugins.yolo_layer.plugin").register(launch_where_current)
    except RuntimeError as exc:
        raise DetectorError(
            f"the decode plugin cannot be used: {exc}", remedy='provision with decode = "kernel"'
        ) from exc


def launch_where_current(launch: Launch, stream: int) -> None:
    """Run a kernel on the calling thread's current device; when TensorRT enqueues, that is its engine's device.

    Raises:
        DetectorError: the plugin was not registered for that device, or the device refuses the launch.
    """
    context = current_context()
    there = [gpu for gpu in _plugin_runs_on if gpu.context == context and not gpu.closed]
    if not there:
        raise DetectorError("TensorRT runs the decode plugin on a GPU for which it was not registered")
    # While a model is replaced, two objects hold the same device; each runs its own kernels until it is closed.
    next((gpu for gpu in there if gpu.has_made(stream)), there[-1]).launch(launch, stream)


def describe(gpu: Cuda) -> dict[str, str]:
    """Facts about the device for `edged check`: name, driver, CUDA, module loading, free memory."""
    free_bytes, total_bytes = gpu.memory_bytes()
    if is_jetson():  # memory is shared with the CPU, and CUDA does not count the page cache as free
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
        return "unknown (NVML does not say)"  # on some Jetsons; the GPU works without it
