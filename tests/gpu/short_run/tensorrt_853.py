"""TensorRT 8.5.3 whole, with a Python of its own, for an x86-64 GPU machine that has neither it nor a network.

It is the newest release whose full libraries are an ordinary wheel; later ones fetch theirs from NVIDIA's index. Its
wheel is for CPython 3.10. It brings its own CUDA 11.8 runtime, knows GPUs up to SM 9.0 and runs on any newer driver.

run             starts that Python with all of it
python/         CPython 3.10, its standard library, in its site-packages TensorRT and what the steps import
system/         the system's libraries that its modules need
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.gpu.packages import DISTRIBUTIONS
from tests.gpu.short_run import wheels
from tests.gpu.short_run.transfer import TransferError

VERSION = "8.5.3"
_WHEEL = "tensorrt==8.5.3.1"
_PYTHON = "3.10"
# What goes together under Python 3.10 and numpy 1, which this TensorRT's bindings were made for.
_PINNED = ("numpy==1.26.4", "opencv-python-headless<4.12", "onnxruntime<1.24", "nvidia-cuda-nvrtc>=12")
_NO_PART = (
    "site-packages",
    "_tkinter*",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "ensurepip",
    "__pycache__",
    "config-3.10*",
    "*.a",
)
# Of the C library: they belong to the machine that they run on.
_OF_THE_SYSTEM = r"(ld-linux.*|lib(c|m|dl|pthread|rt|util|resolv|nsl|anl))\.so.*"
# Nothing here uses NVIDIA's own plugins, whose library needs cuDNN and cuBLAS, a gigabyte more.
_PLUGINS = "libnvinfer_plugin.so.8"
_NO_PLUGINS = "int initLibNvInferPlugins(void *logger, const char *space) { (void)logger; (void)space; return 1; }\n"
_RUN = """\
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
unset PYTHONPATH
export PYTHONHOME="$here/python"
libraries="$here/python/lib/python3.10/site-packages/tensorrt:$here/system"
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/python/bin/python3.10" "$@"
"""


def assemble(folder: Path, *, python310: Path | None) -> Path:
    """Lay all of it into a folder.

    Args:
        folder: is made.
        python310: CPython 3.10; None to look for one.

    Raises:
        TransferError: there is no CPython 3.10, no C compiler, or a package cannot be had.
    """
    python = find_python310(python310)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise TransferError("no C compiler for the stand-in of TensorRT's plugin library (apt-get install gcc)")
    # CUDA's packages look for NVRTC in an interpreter's own site-packages, and nowhere on PYTHONPATH.
    packages = _copy_python(python, folder) / "site-packages"
    wanted = [name for name in DISTRIBUTIONS.values() if not any(pin.startswith(name) for pin in _PINNED)]
    resolved = wheels.resolve((*wanted, *_PINNED, "tomli"), python=_PYTHON)
    wheels.install((*resolved, _WHEEL), packages, python=_PYTHON)
    library = packages / "tensorrt" / _PLUGINS
    library.unlink()
    flags = ("-shared", "-fPIC", "-x", "c", f"-Wl,-soname,{_PLUGINS}", "-o", str(library), "-")
    subprocess.run((compiler, *flags), input=_NO_PLUGINS.encode(), check=True)
    run = folder / "run"
    run.write_text(_RUN)
    run.chmod(0o755)
    return folder


def find_python310(given: Path | None) -> Path:
    """CPython 3.10: the one given, on the PATH, or pyenv's.

    Raises:
        TransferError: there is none.
    """
    named = [given] if given else [Path(found) for found in [shutil.which("python3.10")] if found]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    named += [] if given else sorted(root.glob("versions/3.10.*/bin/python3.10"), reverse=True)
    for python in named:
        if _version(python) == _PYTHON:
            return python
    where = f"{given} is none" if given else "none is on the PATH or in pyenv"
    raise TransferError(f"TensorRT {VERSION} needs CPython 3.10, and {where}; install one, or name it by --python310")


def _version(python: Path) -> str:
    code = "import sys; print(f'{sys.version_info[0]}.{sys.version_info[1]}')"
    try:
        return subprocess.run((python, "-c", code), capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _copy_python(python: Path, folder: Path) -> Path:
    """The interpreter, its standard library, whose folder is returned, and the system's libraries that they load."""
    code = "import sys; print(sys.base_prefix)"
    prefix = Path(subprocess.run((python, "-c", code), capture_output=True, text=True, check=True).stdout.strip())
    real = prefix / "bin" / "python3.10"
    (folder / "python" / "bin").mkdir(parents=True)
    shutil.copy2(real, folder / "python" / "bin" / "python3.10")
    library = folder / "python" / "lib" / "python3.10"
    shutil.copytree(prefix / "lib" / "python3.10", library, ignore=shutil.ignore_patterns(*_NO_PART))
    (folder / "system").mkdir()
    for needed in sorted(set(_needed(real, *(library / "lib-dynload").glob("*.so")))):
        shutil.copy2(needed, folder / "system" / needed.name)
    return library


def _needed(*binaries: Path) -> Iterator[Path]:
    """The shared libraries that these load, without those of the C library."""
    for binary in binaries:
        said = subprocess.run(("ldd", binary), capture_output=True, text=True, check=False).stdout
        for name, path in re.findall(r"(\S+) => (/\S+)", said):
            if not re.fullmatch(_OF_THE_SYSTEM, name):
                yield Path(path)


if __name__ == "__main__":
    sys.stdout.write(f"{assemble(Path(sys.argv[1]), python310=None)}\n")
