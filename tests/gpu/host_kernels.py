"""The kernels' own sources compiled for this processor, and a `Gpu` that runs them in ordinary memory."""

# ruff: noqa: ARG002 - a fake takes what the protocol gives and needs little of it

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edged.core.errors import DetectorError
from edged.core.types import Pixels
from plugins.yolo_layer.launch import Launch

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("host") / "kernels.cpp"
# Contraction off: a fused multiply-add rounds once where the kernels and numpy round twice.
FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror", "-fPIC")
_GUARD_BYTES = 256
_GUARD = np.full(_GUARD_BYTES, 0xA5, np.uint8)


@functools.cache
def host_library(*extra_flags: str) -> ctypes.CDLL:
    """The compiled kernels; once a session for each set of flags."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler: the kernels cannot run on this processor")
    out = Path(tempfile.mkdtemp(prefix="edged-host-kernels-")) / "kernels.so"
    command = [compiler, *FLAGS, "-Wno-unused-function", *extra_flags, "-shared", f"-I{ROOT}", "-o", str(out)]
    subprocess.run([*command, str(SOURCE)], check=True)
    library = ctypes.CDLL(str(out))
    shutil.rmtree(out.parent)
    library.host_launch.restype = ctypes.c_char_p
    library.host_args_bytes.restype = ctypes.c_size_t
    return library


def host_launch(launch: Launch, *, seed: int = 0) -> None:
    """Run one launch to its end, blocks and threads in an order shuffled by `seed`."""
    triple = ctypes.c_uint * 3
    problem = host_library().host_launch(
        launch.kernel.encode(), triple(*launch.grid), triple(*launch.block), ctypes.byref(launch.args), seed
    )
    if problem:
        raise DetectorError(f"{launch.kernel}: {problem.decode()}")


def args_bytes(kernel: str) -> int:
    """Size of a kernel's argument as the C++ compiler lays it out."""
    return int(host_library().host_args_bytes(kernel.encode()))


class HostGpu:
    """Implements `edged.gpu.protocols.Gpu` at once and in order, in host memory fenced by guard bytes.

    Args:
        seed: shuffles the order of blocks and threads; the results must not depend on it.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.calls: list[str] = []
        self.loaded: set[str] = set()
        self.graphs: list[list[Callable[[], None]]] = []
        self.pinned: dict[int, int] = {}
        self.closed = False
        self._seed = seed
        self._memory: dict[int, Pixels] = {}
        self._handles = 0
        self._recording: list[Callable[[], None]] | None = None

    def allocate(self, nbytes: int) -> int:
        self.calls.append("allocate")
        block = np.empty(nbytes + 2 * _GUARD_BYTES + 256, np.uint8)
        block[:] = 0xCD  # device memory is not zero when it comes
        address = -(-(block.ctypes.data + _GUARD_BYTES) // 256) * 256
        start = address - block.ctypes.data
        fenced = block[start - _GUARD_BYTES : start + nbytes + _GUARD_BYTES]
        fenced[:_GUARD_BYTES] = _GUARD
        fenced[-_GUARD_BYTES:] = _GUARD
        self._memory[address] = fenced
        return address

    def free(self, address: int) -> None:
        self.calls.append("free")
        self._require_guards(address)
        del self._memory[address]

    def _require_guards(self, address: int) -> None:
        fenced = self._memory[address]
        if (fenced[:_GUARD_BYTES] != _GUARD).any() or (fenced[-_GUARD_BYTES:] != _GUARD).any():
            raise DetectorError(f"written beyond the {len(fenced) - 2 * _GUARD_BYTES} bytes of a buffer")

    def allocate_pinned(self, nbytes: int) -> Pixels:
        self.calls.append("allocate_pinned")
        return np.full(nbytes, 0xCD, np.uint8)

    def free_pinned(self, memory: Pixels) -> None:
        self.calls.append("free_pinned")

    def pin(self, address: int, nbytes: int) -> None:
        self.pinned[address] = nbytes

    def unpin(self, address: int) -> None:
        del self.pinned[address]

    def make_stream(self) -> int:
        self._handles += 1
        return self._handles

    make_event = make_stream

    def record(self, event: int, stream: int) -> None:
        self._do(lambda: None, "record")

    def wait(self, stream: int, event: int) -> None:
        self._do(lambda: None, "wait")

    def is_reached(self, event: int) -> bool:
        return True

    def elapsed_ms(self, start: int, end: int) -> float:
        return 0.0

    def synchronize(self, stream: int) -> None:
        self.calls.append("synchronize")

    def upload(self, device: int, host: int, nbytes: int, stream: int) -> None:
        self._do(lambda: ctypes.memmove(device, host, nbytes), "upload")

    def download(self, host: int, device: int, nbytes: int, stream: int) -> None:
        self._do(lambda: ctypes.memmove(host, device, nbytes), "download")

    def fill_zero(self, device: int, nbytes: int, stream: int) -> None:
        self._do(lambda: ctypes.memset(device, 0, nbytes), "fill_zero")

    def load(self, image: bytes, kernels: tuple[str, ...]) -> None:
        self.loaded.update(kernels)

    def launch(self, launch: Launch, stream: int) -> None:
        self._do(lambda: host_launch(launch, seed=self._seed), launch.kernel)

    def run(self, name: str, work: Callable[[], None]) -> None:
        """Put something of a fake engine on the stream: recorded while a capture runs, done at once else."""
        self._do(work, name)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        self.calls.append("capture")
        self._recording = []
        try:
            work()
            self.graphs.append(self._recording)
        finally:
            self._recording = None
        return len(self.graphs) - 1

    def replay(self, graph: int, stream: int) -> None:
        self.calls.append("replay")
        for step in self.graphs[graph]:
            step()

    def close(self) -> None:
        for address in list(self._memory):
            self._require_guards(address)
        self._memory.clear()
        self.closed = True

    def _do(self, work: Callable[[], object], name: str) -> None:
        self.calls.append(name)
        if self._recording is None:
            work()
        else:
            self._recording.append(lambda: (work(), None)[1])
