"""A lock file: one process at a time uses an outbox; the error of a second one names the first."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from edged.core.errors import ConfigError, EdgedError

LOCK_FILE = "outbox.lock"


def hold(directory: Path) -> int:
    """Lock the outbox in `directory` (made if missing); returns a descriptor. Closing it, or process end, unlocks.

    Raises:
        ConfigError: the directory cannot be made or written.
        EdgedError: another process holds it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigError(
            f"outbox directory {directory} cannot be used: {exc.strerror}", remedy="make it writable for this user"
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise EdgedError(
            f"outbox {directory} is in use by process {holder or 'unknown'}", remedy="stop it, or use another directory"
        ) from exc
    with contextlib.suppress(OSError):  # a full disk must not keep the daemon from starting
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
    return descriptor
