"""The stub driver of host/libcuda_stub.cpp as a scenario sees it, in a process of its own."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from edged.gpu.kernel_cache import MODULES

if TYPE_CHECKING:
    from edged.gpu.cuda import Cuda

IMAGE = b"\x7fELF stub"


class Stub:
    """The stub driver's own controls."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)  # local: NVRTC must not bind to our C++ symbols
        self._library.stub_live.restype = ctypes.c_size_t

    def fail(self, call: str, status: int) -> None:
        self._library.stub_fail(call.encode(), status)

    def heal(self) -> None:
        self._library.stub_heal()

    def lack(self, function: str) -> None:
        """Before the first call: cuda-python looks all functions up at once."""
        self._library.stub_lack(function.encode())

    def speak_cuda(self, version: int) -> None:
        """Be the driver of CUDA `version`, e.g. 12060; before the first call."""
        self._library.stub_driver_version(version)

    def count(self, call: str) -> int:
        return int(self._library.stub_count(call.encode()))

    @property
    def live(self) -> int:
        """Handles and memory blocks not given back."""
        return int(self._library.stub_live())

    def launched(self, device: int) -> int:
        """Kernels run on a device."""
        return int(self._library.stub_launched(device))

    def copy(self, stream: int, to: int, source: int, nbytes: int) -> None:
        """Put a copy within device memory on a stream, as an engine's work."""
        status = self._library.stub_copy(
            ctypes.c_void_p(stream), ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(nbytes)
        )
        assert status == 0, status

    @property
    def retained(self) -> int:
        """How often primary contexts are held."""
        return int(self._library.stub_retained())


def started(ordinal: int = 0) -> Cuda:
    from edged.gpu.cuda import Cuda

    gpu = Cuda(ordinal)
    for module in MODULES:
        gpu.load(IMAGE, module.kernels)
    return gpu


def in_thread(work: Any) -> None:
    problems: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that waits
            problems.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]


def expect(kind: type[Exception], words: str, work: Any) -> None:
    try:
        work()
    except kind as exc:
        said = str(exc)
    else:
        said = "nothing was raised"
    assert words in said, f"{words!r} is not in {said!r}"


def play(scenarios: Iterable[Callable[[Stub], None]]) -> None:
    """The scenario that the command line names, on the library that it names."""
    {scenario.__name__: scenario for scenario in scenarios}[sys.argv[2]](Stub(sys.argv[1]))
