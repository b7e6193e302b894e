"""A `Gpu` in ordinary memory: the real kernels, the streams as late as they may be, every failure on demand."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from edged.core.errors import DetectorError
from edged.core.types import Pixels
from plugins.yolo_layer.launch import Launch
from tests.gpu.host_kernels import host_launch

_GUARD_BYTES = 256
_GUARD = np.full(_GUARD_BYTES, 0xA5, np.uint8)
_FROM_ANYWHERE = {"enter", "pin", "unpin"}
Step = Callable[[], object]


class _Stream:
    """Work in order, done only when somebody must have waited for it."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque()
        self.pushed = 0
        self.done = 0

    def push(self, step: Step) -> None:
        self.steps.append(step)
        self.pushed += 1

    def run(self, until: int) -> None:
        while self.done < until:
            self.done += 1
            self.steps.popleft()()


class HostDriver:
    """What the devices of one process share: which of them is current in a thread, and the memory that is pinned."""

    def __init__(self) -> None:
        self.here = threading.local()
        self.pinned: set[int] = set()


class HostGpu:
    """Implements `edged.gpu.protocols.Gpu`.

    A real device may do queued work at any time; this one does it at the last moment, when an event is polled for the
    second time or a stream is synchronised. So a missing wait between streams, or host memory reused too early, gives
    wrong results here. Device memory holds noise at first and is fenced by guard bytes. While another device is current
    in the calling thread, this one refuses.

    Args:
        seed: shuffles the order of blocks and threads.
        driver: shared with other devices.

    Attributes:
        calls: what was called, in order.
        failures: an error to raise, by the call's name.
        polls: how often an event is looked at before it is reached.
    """

    def __init__(self, *, seed: int = 0, driver: HostDriver | None = None) -> None:
        self.calls: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.loaded: set[str] = set()
        self.pinned: dict[int, int] = {}
        self.hangs = False
        self.polls = 1
        self.closed = False
        self._seed = seed
        self._memory: dict[int, Pixels] = {}
        self._host: dict[int, Pixels] = {}
        self._streams: dict[int, _Stream] = {}
        self._events: dict[int, tuple[_Stream, int]] = {}
        self._polled: dict[int, int] = {}
        self._graphs: list[list[Step]] = []
        self._recording: list[Step] | None = None
        self._driver = driver or HostDriver()
        self._driver.here.gpu = self

    @property
    def live_blocks(self) -> int:
        """Device and pinned allocations not yet freed."""
        return len(self._memory) + len(self._host)

    @property
    def device_bytes(self) -> int:
        """Of the device allocations not yet freed."""
        return sum(len(fenced) - 2 * _GUARD_BYTES for fenced in self._memory.values())

    def enter(self) -> None:
        self._called("enter")
        self._driver.here.gpu = self

    def allocate(self, nbytes: int) -> int:
        self._called("allocate")
        block = np.full(nbytes + 2 * _GUARD_BYTES + 256, 0xCD, np.uint8)
        start = -(block.ctypes.data + _GUARD_BYTES) % 256
        fenced = block[start : start + nbytes + 2 * _GUARD_BYTES]
        fenced[:_GUARD_BYTES] = fenced[-_GUARD_BYTES:] = _GUARD
        address = fenced.ctypes.data + _GUARD_BYTES
        self._memory[address] = fenced
        return address

    def free(self, address: int) -> None:
        self._called("free")
        self._drain()
        self._require_guards(address)
        del self._memory[address]

    def allocate_pinned(self, nbytes: int) -> Pixels:
        self._called("allocate_pinned")
        memory = np.full(nbytes, 0xCD, np.uint8)
        self._host[memory.ctypes.data] = memory
        return memory

    def free_pinned(self, memory: Pixels) -> None:
        self._called("free_pinned")
        del self._host[memory.ctypes.data]

    def pin(self, address: int, nbytes: int) -> None:
        self._called("pin")
        if address in self._driver.pinned:
            raise DetectorError("cuMemHostRegister failed: CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED (712)")
        self._driver.pinned.add(address)
        self.pinned[address] = nbytes

    def unpin(self, address: int) -> None:
        self._called("unpin")
        del self.pinned[address]
        self._driver.pinned.remove(address)

    def make_stream(self) -> int:
        self._called("make_stream")
        self._streams[len(self._streams) + 1] = _Stream()
        return len(self._streams)

    def make_event(self) -> int:
        self._called("make_event")
        self._events[len(self._events) + 1] = (_Stream(), 0)
        return len(self._events)

    def record(self, event: int, stream: int) -> None:
        self._called("record")
        self._events[event] = (self._streams[stream], self._streams[stream].pushed)
        self._polled[event] = 0

    def wait(self, stream: int, event: int) -> None:
        self._called("wait")
        target, until = self._events[event]
        self._push(stream, lambda: target.run(until))

    def is_reached(self, event: int) -> bool:
        self._called("is_reached")
        self._polled[event] = self._polled.get(event, 0) + 1
        if self._polled[event] <= self.polls or self.hangs:
            return False
        target, until = self._events[event]
        target.run(until)
        return True

    def elapsed_ms(self, start: int, end: int) -> float:
        self._called("elapsed_ms")
        return float(end - start)

    def synchronize(self, stream: int) -> None:
        self._called("synchronize")
        self._streams[stream].run(self._streams[stream].pushed)

    def upload(self, device: int, host: int, nbytes: int, stream: int) -> None:
        self._called("upload")
        self._push(stream, lambda: ctypes.memmove(device, host, nbytes))

    def download(self, host: int, device: int, nbytes: int, stream: int) -> None:
        self._called("download")
        self._push(stream, lambda: ctypes.memmove(host, device, nbytes))

    def fill_zero(self, device: int, nbytes: int, stream: int) -> None:
        self._called("fill_zero")
        if nbytes % 4:
            raise DetectorError(f"fill_zero of {nbytes} bytes, no multiple of 4")
        self._push(stream, lambda: ctypes.memset(device, 0, nbytes))

    def load(self, image: bytes, kernels: tuple[str, ...]) -> None:
        self._called("load")
        if not image:
            raise DetectorError("empty code")
        self.loaded.update(kernels)

    def launch(self, launch: Launch, stream: int) -> None:
        self._called(launch.kernel)
        self._push(stream, lambda: host_launch(launch, seed=self._seed))

    def run(self, name: str, stream: int, work: Step) -> None:
        """Put a fake engine's work on the stream."""
        self._called(name)
        self._push(stream, work)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        self._called("capture")
        if self._streams[stream].steps:
            raise DetectorError("capture on a stream that still has work")
        self._recording = []
        try:
            work()
            self._graphs.append(self._recording)
        finally:
            self._recording = None
        return len(self._graphs) - 1

    def replay(self, graph: int, stream: int) -> None:
        self._called("replay")
        for step in self._graphs[graph]:
            self._push(stream, step)

    def close(self) -> None:
        self.calls.append("close")
        self._drain()
        for address in self._memory:
            self._require_guards(address)
        self._memory.clear()
        self._host.clear()
        self._driver.pinned -= self.pinned.keys()
        self.pinned.clear()
        self.closed = True

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name not in _FROM_ANYWHERE and getattr(self._driver.here, "gpu", None) is not self:
            raise DetectorError(f"{name} failed: CUDA_ERROR_INVALID_CONTEXT (201), this device is not the current one")
        if name in self.failures:
            raise self.failures[name]

    def _push(self, stream: int, step: Step) -> None:
        if self._recording is None:
            self._streams[stream].push(step)
        else:
            self._recording.append(step)

    def _drain(self) -> None:
        for stream in self._streams.values():
            stream.run(stream.pushed)

    def _require_guards(self, address: int) -> None:
        fenced = self._memory[address]
        if (fenced[:_GUARD_BYTES] != _GUARD).any() or (fenced[-_GUARD_BYTES:] != _GUARD).any():
            raise DetectorError(f"written beyond the {len(fenced) - 2 * _GUARD_BYTES} bytes of a buffer")
