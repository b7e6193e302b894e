"""Snapshots on disk: `CAMERA/YYYY-MM-DD/EVENT.jpg` below one directory, bounded by size, age and free space.

What is there is found by looking: nothing but the files says what is stored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edged.core.errors import ConfigError
from edged.core.ulid import time_of

CLEAN = "-clean"
SUFFIX = ".jpg"
_PART = ".part"
DAY_S = 86_400.0
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What the files may take.

    Attributes:
        max_mb: of all files together.
        max_days: older ones are removed.
        min_free_mb: so much of the disk stays free; as much is removed as that takes.
    """

    max_mb: float
    max_days: float
    min_free_mb: float


def read_snapshot(directory: Path, event: str, *, clean: bool) -> bytes | None:
    """The stored picture of an event, of whatever camera; None where there is none.

    Args:
        directory: of a store.
        event: its ULID, whose time is when it began: that names the day.
        clean: without box and label.

    Raises:
        OSError: it cannot be read.
        ValueError: `event` is no ULID.
    """
    day = time_of(event).strftime("%Y-%m-%d")
    for path in directory.glob(f"*/{day}/{event}{CLEAN if clean else ''}{SUFFIX}"):
        return path.read_bytes()
    return None


class SnapshotStore:
    """Writes and removes files; one thread uses it.

    Args:
        directory: made if missing.
        limits: what the files may take.

    Raises:
        ConfigError: the directory cannot be made or written.
    """

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._directory, self._limits = directory, limits
        probe = directory / f".writable{_PART}"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as exc:
            remedy = "give it to this user, name another with [snapshots] directory, or say [snapshots] enabled = false"
            raise ConfigError(f"snapshots {directory}: {exc.strerror}", remedy=remedy) from exc

    def write(self, camera: str, event: str, at: datetime, files: dict[str, bytes]) -> None:
        """Store the pictures of an event, all or none of them complete; replaces older ones.

        Args:
            camera, event: names; the event's first picture says its day.
            at: UTC, when the event began.
            files: content by what is added to the name: nothing, or `CLEAN`.

        Raises:
            OSError: the disk is full or fails.
        """
        folder = self._directory / camera / at.astimezone(timezone.utc).strftime("%Y-%m-%d")
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        for more, content in files.items():
            path = folder / f"{event}{more}{SUFFIX}"
            part = path.with_suffix(_PART)
            try:
                part.write_bytes(content)
                part.replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    part.unlink()
                raise

    def tidy(self) -> set[str]:
        """Remove what is too old, and the oldest until the rest fits; returns the events that lost their picture.

        A file that cannot be removed is passed over: the next time may be better.

        Raises:
            OSError: the directory cannot be listed.
        """
        found = sorted(self._files())
        total = sum(size for _, size, _ in found)
        oldest_s = time.time() - self._limits.max_days * DAY_S
        gone: set[str] = set()
        for modified_s, size, path in found:
            if modified_s >= oldest_s and total <= self._limits.max_mb * MB and self._is_free():
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
                gone.add(path.stem.removesuffix(CLEAN))
        self._remove_empty()
        return gone

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of change, size and path of each file; of one that a killed write left, too."""
        for path in self._directory.glob("*/*/*"):
            if path.suffix in {SUFFIX, _PART}:
                with contextlib.suppress(OSError):
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path

    @property
    def has_room(self) -> bool:
        """Whether the disk has more free space than shall be kept."""
        return self._is_free()

    def _is_free(self) -> bool:
        try:
            return shutil.disk_usage(self._directory).free >= self._limits.min_free_mb * MB
        except OSError:
            return True

    def _remove_empty(self) -> None:
        for folder in (*self._directory.glob("*/*"), *self._directory.glob("*")):
            if folder.is_dir():
                with contextlib.suppress(OSError):  # not empty
                    os.rmdir(folder)
