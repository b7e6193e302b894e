"""Packages for another machine's Python, resolved and unpacked here by uv; only wheels are taken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.gpu.packages import BROUGHT, CARRIED, USUAL, normal
from tests.gpu.short_run.transfer import TransferError

PLATFORM = "x86_64-manylinux_2_28"
RTX = "tensorrt-rtx-{cuda}"
_UV = (sys.executable, "-m", "uv")
_QUIET = ("--quiet", "--no-config", "--python-platform", PLATFORM)
# The import name comes with a source package alone, whose build would need a network there.
_RTX_NAME = "from tensorrt_rtx_bindings import *\nfrom tensorrt_rtx_bindings import __version__\n"


def install(requirements: Sequence[str], folder: Path, *, python: str) -> Path:
    """Unpack wheels of exactly these requirements into a folder for PYTHONPATH.

    Args:
        requirements: as pip takes them; nothing that they need themselves.
        folder: is made.
        python: version of the other machine's, e.g. `3.12`.

    Raises:
        TransferError: one cannot be had.
    """
    options = ("--target", str(folder), "--no-deps", "--only-binary", ":all:", "--python-version", python)
    _uv("pip", "install", *_QUIET, "--link-mode", "copy", *options, *requirements)
    return folder


def resolve(requirements: Sequence[str], *, python: str) -> list[str]:
    """NAME==VERSION of the requirements and of all that they need.

    Raises:
        TransferError: they do not go together.
    """
    options = ("--no-header", "--no-annotate", "--python-version", python, "--only-binary", ":all:")
    text = _uv("pip", "compile", *_QUIET, *options, "-", given="\n".join(requirements))
    return [line for line in text.splitlines() if "==" in line]


def site(folder: Path, *, python: str) -> Path:
    """What a machine with torch's usual stack lacks, see `tests.gpu.packages`."""
    resolved = resolve(tuple(CARRIED.values()), python=python)
    return install(without_usual(resolved), folder, python=python)


def without_usual(resolved: Sequence[str]) -> list[str]:
    """Of NAME==VERSION those that are not there already; what a new version newly needs stays."""
    there = {normal(name) for name in (*USUAL.values(), *BROUGHT)}
    return [one for one in resolved if normal(one.split("==")[0]) not in there]


def rtx(folder: Path, *, python: str, cuda: str) -> Path:
    """TensorRT for RTX: its bindings, its libraries and the name that they are imported by.

    Args:
        folder: is made.
        python: version of the other machine's.
        cuda: `cu12` or `cu13`.
    """
    name = RTX.format(cuda=cuda)
    pinned = resolve((f"{name}-bindings", f"{name}-libs"), python=python)
    install(pinned, folder, python=python)
    (folder / "tensorrt_rtx").mkdir()
    (folder / "tensorrt_rtx" / "__init__.py").write_text(_RTX_NAME)
    # Its parser opens the library by its short name, which the wheel lacks.
    for library in (folder / "tensorrt_rtx_libs").glob("lib*.so.*"):
        library.with_name(f"{library.name.split('.so.')[0]}.so").symlink_to(library.name)
    return folder


def _uv(*arguments: str, given: str = "") -> str:
    try:
        done = subprocess.run((*_UV, *arguments), input=given, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise TransferError(f"uv cannot be started: {exc}; run: make dev") from exc
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"ended with {done.returncode}"
        raise TransferError(f"uv {' '.join(arguments[:2])}: {said}")
    return done.stdout
