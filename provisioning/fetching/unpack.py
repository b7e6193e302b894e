"""Takes one file out of a downloaded zip file."""

from __future__ import annotations

import os
import zlib
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from edged.core.errors import DataError
from provisioning.fetching.download import CHUNK_BYTES, MAX_BYTES


def unpack(archive: Path, member: str, target: Path) -> None:
    """Write one member of a zip file to `target`, whatever folder of the archive it lies in.

    Args:
        archive: the zip file.
        member: file name of the member, without its folder.
        target: written anew; a reader sees no half of it only if the caller renames it.

    Raises:
        DataError: no zip file or a damaged one, no such member or several, an encrypted one, or one of more than
            `MAX_BYTES` (4 GiB).
        OSError: the disk is full or not writable.
    """
    try:
        with ZipFile(archive) as opened:
            info = _only(opened, member)
            with opened.open(info) as packed, target.open("wb") as file:
                while block := packed.read(CHUNK_BYTES):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
        raise DataError(f"{archive.name} cannot be unpacked: {exc}") from exc


def _only(opened: ZipFile, member: str) -> ZipInfo:
    files = [info for info in opened.infolist() if not info.is_dir()]
    found = [info for info in files if PurePosixPath(info.filename).name == member]
    if len(found) != 1:
        names = ", ".join(sorted(info.filename for info in files)[:8]) or "nothing"
        raise DataError(f"the zip file has {len(found)} files named {member!r}, expected one; it has {names}")
    if found[0].file_size > MAX_BYTES:
        raise DataError(f"{member} has {found[0].file_size} bytes, more than the limit of {MAX_BYTES}")
    return found[0]
