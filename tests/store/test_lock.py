"""A lock that the file system does not give is an error, not a lock; a full disk does not keep anybody out."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from edged.core.errors import EdgedError
from edged.store.lock import FileLock


def test_a_file_system_that_gives_no_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network drive without a lock service: two runs would write the same store."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(EdgedError, match="lock cannot be locked: No locks available"), FileLock(tmp_path / "lock"):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_disk_costs_only_the_name_of_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _content: bytes, _offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    held, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with held, pytest.raises(EdgedError, match="in use by another process"), other:
        pass
