"""A lock file that excludes other processes, says who holds it, and is gone with its holder."""

from __future__ import annotations

import fcntl
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from edged.core.errors import EdgedError

_HOLDER_BYTES = 512


class FileLock:
    """An exclusive `flock` on a file; may be entered again by the object that holds it. Not for threads.

    The file stays; the lock ends with the block or the process, however it ends.
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
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _holder(), 0)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, _HOLDER_BYTES, 0).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise EdgedError(f"{self._path.parent} is in use by {holder}", remedy="wait until it has finished") from exc
        except OSError:  # a full disk must not keep anybody from rolling back; the lock itself is held
            pass
        return descriptor


def _holder() -> bytes:
    """This process, for the message that others see. The command line's options may hold secrets: first words only."""
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:2]]
    since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"process {os.getpid()} ({' '.join(words)}) since {since}\n".encode(errors="replace")[:_HOLDER_BYTES]
