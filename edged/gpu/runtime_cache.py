"""The cache of TensorRT for RTX, which compiles an engine's kernels on the device at the first start."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from edged.core.errors import DetectorError
from edged.gpu.kept import cache_folder, keep, kept
from edged.gpu.tensorrt import TensorRt, log_of

logger = logging.getLogger(__name__)


class RuntimeCache:
    """The compiled kernels of one engine on one kind of device.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded = b""
        self._cache: Any = None

    @classmethod
    def of(cls, plan: bytes, tensorrt: TensorRt, device: str) -> RuntimeCache:
        """The cache for an engine on a device.

        Args:
            plan: the serialised engine.
            tensorrt: the version that runs it.
            device: its name. TensorRT itself refuses kernels of another device or driver.
        """
        key = hashlib.sha256(plan)
        key.update(f"{tensorrt.version}\0{device}".encode())
        return cls(cache_folder("rtx") / f"{key.hexdigest()[:24]}.bin")

    def configuration(self, tensorrt: TensorRt, engine: Any) -> Any:  # noqa: ANN401 - types of TensorRT for RTX
        """Make the runtime configuration for the engine's contexts, with the kernels from the cache.

        Raises:
            DetectorError: TensorRT makes no configuration, or refuses the cache.
        """
        trt = tensorrt.module
        config = engine.create_runtime_config()
        if config is None:
            raise DetectorError(f"{tensorrt.title} made no runtime configuration: {log_of(tensorrt).reasons()}")
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        # Lazily, the first runs would use a slower kernel until the best one is compiled, and a graph captured
        # meanwhile would keep the slower one.
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED  # edged captures graphs itself
        self._cache = config.create_runtime_cache()
        content = kept(self._path)
        if content and self._cache.deserialize(content):
            self._loaded = content
        elif content:
            logger.info("%s was kept under another driver or device: kernels are compiled again", self._path)
        if not config.set_runtime_cache(self._cache):
            raise DetectorError(f"{tensorrt.title} does not take a runtime cache")
        return config

    def keep(self) -> None:
        """Store new kernels for the next start. Call it after every batch size has run once."""
        kernels = self._cache.serialize() if self._cache is not None else None
        content = bytes(kernels) if kernels is not None else b""
        if content and content != self._loaded:
            keep(self._path, content)
            self._loaded = content

    def close(self) -> None:
        """Free the cache; call it before the engine is freed."""
        self._cache = None
