"""A lock file that excludes other processes and says which one holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from edged.core.errors import EdgedError

_HOLDER_BYTES = 512


class FileLock:
    """An exclusive `flock` on a file, as a context manager. The same object may enter it again. Not for threads.

    The lock ends with the block, or with the process, however that ends; the file stays.

    Raises:
        EdgedError: on entering: another process holds it (the message says which), or the file cannot be opened or
            locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._depth = 0

    def __enter__(self) -> None:
        if self._depth == 0:
            self._descriptor = self._acquired()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            os.close(self._descriptor)

    def _acquired(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as exc:
            raise EdgedError(
                f"{self._path} cannot be opened: {exc.strerror}", remedy="run as the user who owns the directory"
            ) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, _HOLDER_BYTES, 0).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise EdgedError(f"{self._path.parent} is in use by {holder}", remedy="wait until it has finished") from exc
        except OSError as exc:
            os.close(descriptor)
            raise EdgedError(
                f"{self._path} cannot be locked: {exc.strerror}", remedy="choose a directory on a local disk"
            ) from exc
        # A full disk must not prevent a rollback: the lock is held, only the holder's name is missing.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _holder(), 0)
        return descriptor


def _holder() -> bytes:
    """Describe this process, for the messages of others: two words of its command line, as options may hold secrets."""
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:2]]
    since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"process {os.getpid()} ({' '.join(words)}) since {since}\n".encode(errors="replace")[:_HOLDER_BYTES]
