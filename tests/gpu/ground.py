"""Where a kernel test runs: on the processor, or on a GPU in memory that both see."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from edged.core.errors import DetectorError
from plugins.yolo_layer.launch import Launch
from tests.gpu.host_kernels import host_launch

if TYPE_CHECKING:
    from edged.gpu.cuda import Cuda

Array = np.ndarray[Any, Any]
GROUNDS = ["processor", pytest.param("gpu", marks=pytest.mark.gpu)]


class Ground(Protocol):
    """Memory that kernels reach, and a way to run them."""

    def array(self, content: Array) -> Array:
        """A contiguous copy that kernels may read and write through its own address."""
        ...

    def run(self, launch: Launch, *, seed: int = 0) -> None:
        """Run a launch to its end."""
        ...


class Processor:
    """Ordinary memory, the kernels as the host's compiler made them."""

    def array(self, content: Array) -> Array:
        return np.array(content, order="C")

    def run(self, launch: Launch, *, seed: int = 0) -> None:
        host_launch(launch, seed=seed)


class Device:
    """Pinned memory, which has one address for both sides; the kernels as NVRTC made them."""

    def __init__(self, gpu: Cuda) -> None:
        self._gpu = gpu
        self._stream = gpu.make_stream()

    def array(self, content: Array) -> Array:
        memory = self._gpu.allocate_pinned(max(content.nbytes, 1))
        made: Array = memory[: content.nbytes].view(content.dtype).reshape(content.shape)
        made[...] = content
        return made

    def run(self, launch: Launch, *, seed: int = 0) -> None:
        del seed  # the device has an order of its own
        self._gpu.launch(launch, self._stream)
        self._gpu.synchronize(self._stream)


@functools.cache
def open_device() -> Cuda:
    """The machine's GPU with the kernels loaded, once a session; skips where there is none."""
    try:
        from edged.gpu.device import open_gpu

        return open_gpu()
    except ImportError as exc:
        pytest.skip(f"no GPU can be used: {exc}")
    except DetectorError as exc:
        pytest.skip(f"no GPU: {str(exc).split(';')[0]:.60}")


@functools.cache
def ground_named(name: str) -> Ground:
    """The ground of a test's parameter."""
    return Processor() if name == "processor" else Device(open_device())
