"""Keeps the highest delivery number that may be in use in a file of its own, which survives a lost database."""

from __future__ import annotations

import os
from pathlib import Path

RESERVATION = "delivery.reserved"


def read_reservation(directory: Path) -> int:
    """The highest delivery number that may be in use; 0 where the file is missing or damaged."""
    try:
        return max(0, int((directory / RESERVATION).read_text(encoding="ascii")[:20]))
    except (FileNotFoundError, ValueError):
        return 0


def write_reservation(directory: Path, highest: int) -> None:
    """Write that numbers up to `highest` may be in use, before any of them is; on disk when it returns.

    Raises:
        OSError: it cannot be written.
    """
    temporary = directory / (RESERVATION + ".tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, str(highest).encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(directory / RESERVATION)
    folder = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
