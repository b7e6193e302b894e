"""The kernels' own sources compiled for this processor."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from edged.core.errors import DetectorError
from plugins.yolo_layer.launch import Launch

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("host") / "kernels.cpp"
# Contraction off: a fused multiply-add rounds once where the kernels and numpy round twice.
FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror", "-fPIC")


@functools.cache
def host_library() -> ctypes.CDLL:
    """The compiled kernels; once a session. EDGED_HOST_FLAGS adds to the compiler's flags, for sanitizers."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler: the kernels cannot run on this processor")
    extra = os.environ.get("EDGED_HOST_FLAGS", "").split()
    out = Path(tempfile.mkdtemp(prefix="edged-host-kernels-")) / "kernels.so"
    command = [compiler, *FLAGS, "-Wno-unused-function", *extra, "-shared", f"-I{ROOT}", "-o", str(out)]
    subprocess.run([*command, str(SOURCE)], check=True)
    library = ctypes.CDLL(str(out))
    shutil.rmtree(out.parent)
    library.host_launch.restype = ctypes.c_char_p
    library.host_args_bytes.restype = ctypes.c_size_t
    library.host_barriers.restype = ctypes.c_ulonglong
    return library


def host_launch(launch: Launch, *, seed: int = 0) -> None:
    """Run one launch to its end, blocks and threads in an order shuffled by `seed`."""
    triple = ctypes.c_uint * 3
    problem = host_library().host_launch(
        launch.kernel.encode(), triple(*launch.grid), triple(*launch.block), ctypes.byref(launch.args), seed
    )
    if problem:
        raise DetectorError(f"{launch.kernel}: {problem.decode()}")


def barriers() -> int:
    """How often a thread came to a barrier in the last launch: the length of the kernel's loops."""
    return int(host_library().host_barriers())


def args_bytes(kernel: str) -> int:
    """Size of a kernel's argument as the C++ compiler lays it out."""
    return int(host_library().host_args_bytes(kernel.encode()))
