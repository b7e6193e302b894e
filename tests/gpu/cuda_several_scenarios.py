"""Two devices in one process, on the stub driver; each function is run by test_cuda.py in a process of its own."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.core.errors import DetectorError
from edged.gpu.kernel_cache import MODULES
from plugins.yolo_layer.launch import Launch
from tests.gpu.stub_driver import Stub, expect, play, started

if TYPE_CHECKING:
    from edged.gpu.cuda import Cuda


def pinned_memory_is_every_devices(stub: Stub) -> None:
    first, second = started(0), started(1)
    memory = np.arange(4096, dtype=np.uint8)
    first.pin(memory.ctypes.data, memory.nbytes)
    expect(DetectorError, "HOST_MEMORY_ALREADY_REGISTERED", lambda: second.pin(memory.ctypes.data, memory.nbytes))
    for gpu in (first, second):
        gpu.enter()
        device, stream, back = gpu.allocate(4096), gpu.make_stream(), gpu.allocate_pinned(4096)
        gpu.upload(device, memory.ctypes.data, 4096, stream)
        gpu.download(back.ctypes.data, device, 4096, stream)
        assert (back == memory).all()
    first.unpin(memory.ctypes.data)
    expect(DetectorError, "cuMemcpyHtoDAsync", lambda: second.upload(device, memory.ctypes.data, 4096, stream))
    assert stub.count("cuMemHostUnregister") == 1


def device_is_left_whichever_is_current(stub: Stub) -> None:
    first, second = started(0), started(1)
    device, stream = second.allocate(64), second.make_stream()
    first.enter()
    expect(DetectorError, "cuMemsetD32Async failed", lambda: second.fill_zero(device, 64, stream))
    live = stub.live
    second.close()
    assert live - stub.live == 2 + len(MODULES) and stub.retained == 1
    first.enter()
    first.close()
    assert stub.live == 0 and stub.retained == 0


def plugin_runs_on_the_device_of_its_engine(stub: Stub) -> None:
    """TensorRT knows one plugin a process, and enqueues it where the engine's device is current."""
    launch = RegisteredPlugin()
    first, second = started(0), started(1)
    launch.register(first, second)
    for gpu, device in ((first, 0), (second, 1), (first, 0)):
        gpu.enter()
        before = stub.launched(device), stub.launched(1 - device)
        launch(decode(gpu), gpu.make_stream())
        assert (stub.launched(device), stub.launched(1 - device)) == (before[0] + 1, before[1])
    second.enter()
    stream = second.make_stream()
    second.close()
    expect(DetectorError, "runs the decode plugin on a GPU for which it was not", lambda: launch(decode(first), stream))
    first.enter()
    launch(decode(first), first.make_stream())


def plugin_keeps_its_kernels_while_a_model_is_replaced(_stub: Stub) -> None:
    """Two hold one device then; whichever goes, the graphs of the other go on."""
    launch = RegisteredPlugin()
    for stays in (0, 1):
        pair = started(), started()
        launch.register(*pair)
        streams = [gpu.make_stream() for gpu in pair]
        launches = [decode(gpu) for gpu in pair]
        graphs = [
            gpu.capture(stream, partial(launch, what, stream))
            for gpu, stream, what in zip(pair, streams, launches, strict=True)
        ]
        pair[1 - stays].close()
        pair[stays].enter()
        pair[stays].replay(graphs[stays], streams[stays])
        launch(launches[stays], streams[stays])
        pair[stays].close()


class RegisteredPlugin:
    """Stands in for the plugin's module: what TensorRT would call is the launch that was registered last."""

    def __init__(self) -> None:
        module: Any = types.ModuleType("plugins.yolo_layer.plugin")
        module.register = self._take
        sys.modules[module.__name__] = module
        self._launch: Callable[[Launch, int], None] | None = None

    def register(self, *gpus: Cuda) -> None:
        from edged.gpu.device import register_plugin

        for gpu in gpus:
            register_plugin(gpu)

    def _take(self, launch: Callable[[Launch, int], None]) -> None:
        self._launch = launch

    def __call__(self, launch: Launch, stream: int) -> None:
        assert self._launch is not None
        self._launch(launch, stream)


def decode(gpu: Cuda) -> Launch:
    """A kernel of the decode over memory of this device, which must be current."""
    from plugins.yolo_layer.kernel import DecodeOutputs, decode_launches, workspace_bytes
    from tests.plugins.decoding import layer

    sizes = [(8, 8), (4, 4), (2, 2)]
    nbytes = 24 * 64 * 4
    heads = [gpu.allocate(nbytes) for _ in sizes]
    outputs = DecodeOutputs(*(gpu.allocate(nbytes) for _ in range(4)))
    workspace = gpu.allocate(workspace_bytes(layer(), sizes, 1))
    return decode_launches(layer(), sizes, batch=1, heads=heads, outputs=outputs, workspace=workspace)[0]


SCENARIOS = (
    pinned_memory_is_every_devices,
    device_is_left_whichever_is_current,
    plugin_runs_on_the_device_of_its_engine,
    plugin_keeps_its_kernels_while_a_model_is_replaced,
)

if __name__ == "__main__":
    play(SCENARIOS)
