"""The outbox's file as a whole: its name, what can be wrong with it, and putting a damaged one aside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edged.core.errors import DataError, EdgedError

DATABASE = "outbox.db"
QUARANTINE_SUFFIX = ".damaged"

# SQLite's own words; Python 3.10 gives no error codes.
_CORRUPT = ("malformed", "not a database", "disk image", "no such table", "no such column", "file format")


class StoreCorruptError(DataError):
    """The file is damaged; its content cannot be trusted."""


class StoreFailedError(EdgedError):
    """The disk cannot be used at the moment: full, read-only or failing."""


def quarantine(directory: Path) -> Path:
    """Rename a damaged file, replacing an earlier one; returns the new path."""
    aside = directory / (DATABASE + QUARANTINE_SUFFIX)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            (directory / (DATABASE + suffix)).replace(str(aside) + suffix)
    return aside


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into the two of the outbox; `path` is named in the message."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        if any(word in str(exc) for word in _CORRUPT):
            raise StoreCorruptError(f"outbox {path} is damaged: {exc}") from exc
        raise StoreFailedError(f"outbox {path}: {exc}") from exc
    except OSError as exc:
        raise StoreFailedError(f"outbox {path}: {exc.strerror or exc}") from exc
