"""A device ready for work: CUDA started, the kernels compiled and loaded, the plugin registered."""

from __future__ import annotations

from importlib import import_module

from edged.core.errors import DetectorError
from edged.gpu.cuda import Cuda
from edged.gpu.kernel_cache import MODULES, cache_directory, compiled
from edged.gpu.nvrtc import Nvrtc


def open_gpu(ordinal: int = 0) -> Cuda:
    """Start CUDA on a device and load our kernels.

    Args:
        ordinal: among those that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        DetectorError: no driver, no device, no compiler, or a kernel that does not compile.
    """
    gpu = Cuda(ordinal)
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

    Raises:
        DetectorError: these bindings cannot run it.
    """
    try:
        import_module("plugins.yolo_layer.plugin").register(gpu.launch)
    except RuntimeError as exc:
        raise DetectorError(
            f"the decode plugin cannot be used: {exc}", remedy='provision with decode = "kernel"'
        ) from exc
