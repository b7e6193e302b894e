"""Writes files completely or not at all, and syncs directories to the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edged.core.errors import EdgedError


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write, which replaces `path` when the block ends without error, synced to the disk.

    After an error, a kill or a full disk, `path` is what it was before.

    Raises:
        EdgedError: the folder does not exist or is not writable, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as exc:
        raise EdgedError(
            f"{path} cannot be written: {exc.strerror or exc}",
            remedy="free some space or give another place; the earlier file is unchanged",
        ) from exc
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Sync a directory to the disk, so that its file names survive a power cut.

    Raises:
        OSError: it cannot be opened or synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
