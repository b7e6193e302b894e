"""A folder as a tar, compressed by xz on every core."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.gpu.short_run.transfer import TransferError


def pack(folder: Path, path: Path) -> Path:
    """Write `path`, NAME.tar.xz, with the content of `folder`; the path.

    Raises:
        TransferError: xz is not installed, or fails.
    """
    if shutil.which("xz") is None:
        raise TransferError("xz is not installed (apt-get install xz-utils)")
    with path.open("wb") as file:
        process = subprocess.Popen(("xz", "-T0", "-6"), stdin=subprocess.PIPE, stdout=file)
        with process, tarfile.open(fileobj=process.stdin, mode="w|") as archive:
            for each in sorted(folder.iterdir()):
                archive.add(each, each.name, filter=_without_caches)
    if process.returncode:
        raise TransferError(f"xz ended with {process.returncode} while it made {path}")
    return path


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.name.endswith("__pycache__") else entry
