"""A stub `libcuda.so.1` for tests of the real CUDA wrapper, each in a process of its own."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.gpu.host_kernels import FLAGS, ROOT

STUB = Path(__file__).with_name("host") / "libcuda_stub.cpp"
_LIMIT_S = 100.0


@functools.cache
def libcuda() -> Path:
    """The library, compiled once a session; skips where it cannot be."""
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler for the stub driver")
    directory = Path(tempfile.mkdtemp(prefix="edged-stub-driver-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    out = directory / "libcuda.so.1"
    command = [compiler, *FLAGS, "-Wno-unused-function", "-shared", "-Wl,-soname,libcuda.so.1", f"-I{ROOT}"]
    subprocess.run([*command, "-o", str(out), str(STUB), "-ldl"], check=True)
    return out


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, free of settings that change what CUDA does."""
    kept: Mapping[str, str] = {key: value for key, value in os.environ.items() if not key.startswith("CUDA_")}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
