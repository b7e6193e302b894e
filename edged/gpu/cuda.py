"""The device through CUDA's driver API: implements `edged.gpu.protocols.Gpu`, every status checked."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np

from edged.core.errors import DetectorError
from edged.core.types import Pixels
from edged.gpu.check import check
from edged.gpu.driver import driver
from edged.gpu.errors import DeviceLost
from plugins.yolo_layer.launch import Launch

logger = logging.getLogger(__name__)


class Cuda:
    """The primary context of one device, and everything made in it.

    One thread at a time uses it, after `enter`; only `pin` and `unpin` may be called from other threads meanwhile. A
    process may hold several, of one device or of several.

    Args:
        ordinal: the device's number among those that CUDA_VISIBLE_DEVICES allows.
        lazy: require lazy module loading; only the bench measures without it.

    Raises:
        DetectorError: no driver, no such device, or no lazy loading.
    """

    def __init__(self, ordinal: int = 0, *, lazy: bool = True) -> None:
        self._functions: dict[str, Any] = {}
        self._release: dict[int, Callable[[], None]] = {}  # by address or handle, in the order made
        self._lock = threading.Lock()
        self.closed = False
        _initialise(lazy=lazy)
        self._device = check("cuDeviceGet", driver.cuDeviceGet(ordinal))
        name = check("cuDeviceGetName", driver.cuDeviceGetName(128, self._device))
        self.name = bytes(name).split(b"\0")[0].decode()  # bytes after the NUL are undefined
        self.compute_capability = (
            self._attribute("COMPUTE_CAPABILITY_MAJOR"),
            self._attribute("COMPUTE_CAPABILITY_MINOR"),
        )
        self._context = check("cuDevicePrimaryCtxRetain", driver.cuDevicePrimaryCtxRetain(self._device))
        self.enter()

    @property
    def context(self) -> int:
        """The handle of the device's primary context, the same for all its users."""
        return int(self._context)

    def has_made(self, stream: int) -> bool:
        """Whether `make_stream` of this object made the stream."""
        return stream in self._release

    def enter(self) -> None:
        """Make the device current in the calling thread."""
        # Always: thread ids are no key for a cache, since the system uses those of ended threads again.
        check("cuCtxSetCurrent", driver.cuCtxSetCurrent(self._context))

    @property
    def uuid(self) -> str:
        """As NVML writes it: `GPU-...`; of a MIG instance its own or its GPU's, depending on the driver's version.

        Empty where the driver gives none: it only identifies, and a broken device fails at the next call anyway.
        """
        try:
            raw = check("cuDeviceGetUuid", driver.cuDeviceGetUuid(self._device)).bytes
        except DetectorError as exc:
            logger.debug("the driver does not tell the UUID of %s: %s", self.name, exc)
            return ""
        return f"GPU-{UUID(bytes=bytes(raw[:16]))}"

    def memory_bytes(self) -> tuple[int, int]:
        """Free and total device memory, bytes."""
        free, total = check("cuMemGetInfo", driver.cuMemGetInfo())
        return int(free), int(total)

    def allocate(self, nbytes: int) -> int:
        """Allocate device memory, aligned to 256 bytes; returns its address."""
        address = int(check("cuMemAlloc", driver.cuMemAlloc(nbytes)))
        self._release[address] = lambda: check("cuMemFree", driver.cuMemFree(address))
        return address

    def free(self, address: int) -> None:
        """Free memory of `allocate`."""
        self._release.pop(address)()

    def allocate_pinned(self, nbytes: int) -> Pixels:
        """Allocate page-locked host memory, (nbytes,) uint8."""
        address = int(check("cuMemHostAlloc", driver.cuMemHostAlloc(nbytes, 0)))
        self._release[address] = lambda: check("cuMemFreeHost", driver.cuMemFreeHost(address))
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def free_pinned(self, memory: Pixels) -> None:
        """Free memory of `allocate_pinned`; the array must not be used any more."""
        self._release.pop(memory.ctypes.data)()

    def pin(self, address: int, nbytes: int) -> None:
        """Page-lock host memory of another owner for all devices; the driver refuses memory that is pinned already."""
        with self._lock:
            portable = driver.CU_MEMHOSTREGISTER_PORTABLE
            self._in_context("cuMemHostRegister", lambda: driver.cuMemHostRegister(address, nbytes, portable))
            self._release[address] = lambda: check("cuMemHostUnregister", driver.cuMemHostUnregister(address))

    def unpin(self, address: int) -> None:
        """Undo `pin`."""
        with self._lock:
            if self._release.pop(address, None) is not None:
                self._in_context("cuMemHostUnregister", lambda: driver.cuMemHostUnregister(address))

    def make_stream(self) -> int:
        """Make a stream that does not wait for the default one."""
        flag = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        stream = int(check("cuStreamCreate", driver.cuStreamCreate(int(flag))))
        self._release[stream] = lambda: check("cuStreamDestroy", driver.cuStreamDestroy(stream))
        return stream

    def make_event(self) -> int:
        """Make an event that can be recorded again and again."""
        event = int(check("cuEventCreate", driver.cuEventCreate(0)))
        self._release[event] = lambda: check("cuEventDestroy", driver.cuEventDestroy(event))
        return event

    def record(self, event: int, stream: int) -> None:
        """Record the event at this point of the stream."""
        check("cuEventRecord", driver.cuEventRecord(event, stream))

    def wait(self, stream: int, event: int) -> None:
        """Make the stream, not the caller, wait until the event is reached."""
        check("cuStreamWaitEvent", driver.cuStreamWaitEvent(stream, event, 0))

    def is_reached(self, event: int) -> bool:
        """Whether the last recorded point of the event is reached; never blocks."""
        result = driver.cuEventQuery(event)
        if result[0] == driver.CUresult.CUDA_ERROR_NOT_READY:
            return False
        check("cuEventQuery", result)
        return True

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two reached events."""
        return float(check("cuEventElapsedTime", driver.cuEventElapsedTime(start, end)))

    def synchronize(self, stream: int) -> None:
        """Block until the stream is empty."""
        check("cuStreamSynchronize", driver.cuStreamSynchronize(stream))

    def upload(self, device: int, host: int, nbytes: int, stream: int) -> None:
        """Copy from host to device, in the stream's order."""
        check("cuMemcpyHtoDAsync", driver.cuMemcpyHtoDAsync(device, host, nbytes, stream))

    def download(self, host: int, device: int, nbytes: int, stream: int) -> None:
        """Copy from device to host, in the stream's order."""
        check("cuMemcpyDtoHAsync", driver.cuMemcpyDtoHAsync(host, device, nbytes, stream))

    def fill_zero(self, device: int, nbytes: int, stream: int) -> None:
        """Zero device memory, in the stream's order; `nbytes` is a multiple of 4."""
        check("cuMemsetD32Async", driver.cuMemsetD32Async(device, 0, nbytes // 4, stream))

    def load(self, image: bytes, kernels: tuple[str, ...]) -> None:
        """Load code and its kernels, so that none is loaded while a graph is captured."""
        module = check("cuModuleLoadData", driver.cuModuleLoadData(image))
        self._release[int(module)] = lambda: check("cuModuleUnload", driver.cuModuleUnload(module))
        for kernel in kernels:
            name = kernel.encode()
            self._functions[kernel] = check("cuModuleGetFunction", driver.cuModuleGetFunction(module, name))

    def launch(self, launch: Launch, stream: int) -> None:
        """Run a loaded kernel, in the stream's order."""
        function = self._functions.get(launch.kernel)
        if function is None:
            raise DetectorError(f"kernel {launch.kernel} was not loaded, only {', '.join(sorted(self._functions))}")
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(launch.args))  # copied before the call returns
        result = driver.cuLaunchKernel(function, *launch.grid, *launch.block, 0, stream, ctypes.addressof(arguments), 0)
        check(f"cuLaunchKernel({launch.kernel})", result)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Capture a graph of what `work` puts on the stream; nothing runs yet."""
        # Thread-local: in global mode harmless CUDA calls of other threads would fail during the capture.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        check("cuStreamBeginCapture", driver.cuStreamBeginCapture(stream, mode))
        try:
            work()
        except BaseException:
            self._abandon_capture(stream)
            raise
        graph = check("cuStreamEndCapture", driver.cuStreamEndCapture(stream))
        try:
            executable = check("cuGraphInstantiate", driver.cuGraphInstantiate(graph, 0))
        finally:
            check("cuGraphDestroy", driver.cuGraphDestroy(graph))
        handle = int(executable)
        self._release[handle] = lambda: check("cuGraphExecDestroy", driver.cuGraphExecDestroy(executable))
        check("cuGraphUpload", driver.cuGraphUpload(executable, stream))
        return handle

    def replay(self, graph: int, stream: int) -> None:
        """Run a captured graph, in the stream's order."""
        check("cuGraphLaunch", driver.cuGraphLaunch(graph, stream))

    def close(self) -> None:
        """Free everything, newest first, and release the device; a lost device is left as it is. Raises nothing."""
        if self.closed:
            return
        self.closed = True
        # `enter` first: another device may be current in this thread.
        for release in (self.enter, *reversed(list(self._release.values()))):
            try:
                release()
            except DeviceLost as exc:
                logger.debug("the device is lost, its memory is freed with the process: %s", exc)
                return
            except DetectorError as exc:
                logger.warning("releasing the GPU: %s", exc)
        self._release.clear()
        driver.cuDevicePrimaryCtxRelease(self._device)

    def _attribute(self, name: str) -> int:
        attribute = getattr(driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(check("cuDeviceGetAttribute", driver.cuDeviceGetAttribute(attribute, self._device)))

    def _in_context(self, call: str, work: Callable[[], tuple[Any, ...]]) -> None:
        """Make a call from a thread in which the context may not be current."""
        check("cuCtxPushCurrent", driver.cuCtxPushCurrent(self._context))
        try:
            check(call, work())
        finally:
            driver.cuCtxPopCurrent()

    def _abandon_capture(self, stream: int) -> None:
        status, graph = driver.cuStreamEndCapture(stream)
        if int(status) == 0 and int(graph):
            driver.cuGraphDestroy(graph)


def _initialise(*, lazy: bool) -> None:
    """Start CUDA. Without lazy module loading, unused kernels would take a few hundred megabytes of the device."""
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")  # cuInit reads it, once per process
    try:
        check("cuInit", driver.cuInit(0))
    except (RuntimeError, OSError) as exc:  # raised by cuda-python itself, without a CUDA status
        raise DetectorError(
            f"the NVIDIA driver's libcuda.so.1 cannot be loaded: {exc}",
            remedy="install the driver; in a container, give it the GPU (--gpus all, or the nvidia runtime)",
        ) from exc
    if lazy and loading_mode() != "LAZY":
        raise DetectorError(
            f"CUDA loads modules eagerly although CUDA_MODULE_LOADING={os.environ['CUDA_MODULE_LOADING']}",
            remedy="set CUDA_MODULE_LOADING=LAZY before the process starts",
        )


def current_context() -> int:
    """The handle of the context that is current in the calling thread; 0 where none is."""
    return int(check("cuCtxGetCurrent", driver.cuCtxGetCurrent()))


def loading_mode() -> str:
    """`LAZY` or `EAGER`: how this process loads kernels onto the device.

    Raises:
        DetectorError: the driver is older than lazy loading.
    """
    mode = check("cuModuleGetLoadingMode", driver.cuModuleGetLoadingMode())
    return "LAZY" if mode == driver.CUmoduleLoadingMode.CU_MODULE_LAZY_LOADING else "EAGER"
