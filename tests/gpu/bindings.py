"""TensorRT's real Python bindings on a machine without TensorRT: its C++ libraries are stubs compiled on the spot.

Looked for in the folder that EDGED_TENSORRT_BINDINGS names (`pip install --no-deps --target FOLDER
tensorrt-cu12-bindings==10.3.0`), else among the installed packages.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import pytest

_STUB = Path(__file__).with_name("host") / "tensorrt_stub.cpp"
_FIRST_SLOT = {8: 40, 10: 12, 11: 8}
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")


def bindings_folder() -> Path:
    """The package's folder; skips where there is none."""
    given = os.environ.get("EDGED_TENSORRT_BINDINGS", "")
    if given:
        return Path(given) / "tensorrt_bindings"
    found = importlib.util.find_spec("tensorrt_bindings")
    if found is None or found.origin is None:
        pytest.skip("TensorRT's bindings are not installed (pip install --no-deps tensorrt-cu13-bindings)")
    return Path(found.origin).parent


@functools.cache
def load_bindings() -> types.ModuleType:
    """The bindings, imported once a process. They are of no use for running anything: every factory gives null."""
    folder = bindings_folder()
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler for the stub libraries")
    major = _major_version(folder)
    with tempfile.TemporaryDirectory() as scratch:
        for name in _LIBRARIES:
            soname = f"lib{name}.so.{major}"
            out = Path(scratch) / soname
            command = [compiler, "-std=c++17", "-shared", "-fPIC", f"-DFIRST_SLOT={_FIRST_SLOT[major]}"]
            subprocess.run([*command, f"-Wl,-soname,{soname}", "-o", str(out), str(_STUB)], check=True)
            ctypes.CDLL(str(out), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(folder.parent))
    try:
        return importlib.import_module("tensorrt_bindings")
    finally:
        sys.path.remove(str(folder.parent))


def with_static_names(source: str) -> str:
    """A module of ours as if it imported one TensorRT: what it takes from whichever is loaded, mypy then knows."""
    return source.replace("tensorrt.module.", "trt.")


def _major_version(folder: Path) -> int:
    """From the library that the extension wants, e.g. libnvinfer.so.10."""
    extension = (folder / "tensorrt.so").read_bytes()
    found = re.search(rb"libnvinfer\.so\.(\d+)\0", extension)
    if found is None or int(found[1]) not in _FIRST_SLOT:
        pytest.skip(f"the stubs know TensorRT {sorted(_FIRST_SLOT)}, not the bindings in {folder}")
    return int(found[1])
