"""Files of snapshots: bounded by size, age and free space, found by looking."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edged.analysis.snapshots.store import CLEAN, Limits, SnapshotStore
from edged.core.errors import ConfigError

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
AMPLE = Limits(max_mb=100, max_days=10, min_free_mb=0)
MB = 1 << 20


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_files_stand_below_camera_and_day(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "new" / "snapshots", AMPLE)
    store.write("gate", "EVENT", NOON, {"": b"one", CLEAN: b"two"})
    store.write("gate", "EVENT", NOON, {"": b"better"})
    assert files(tmp_path) == [f"new/snapshots/gate/2026-03-01/EVENT{more}.jpg" for more in (CLEAN, "")]
    assert (tmp_path / "new/snapshots/gate/2026-03-01/EVENT.jpg").read_bytes() == b"better"


def test_oldest_go_first_until_the_rest_fits(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, Limits(max_mb=3, max_days=10, min_free_mb=0))
    for number in range(5):
        store.write("gate", f"E{number}", NOON, {"": bytes(MB)})
        aged(tmp_path / "gate/2026-03-01" / f"E{number}.jpg", 100 - number)
    assert store.tidy() == {"E0", "E1"}
    assert len(files(tmp_path)) == 3
    assert store.tidy() == set()


def test_old_files_go_whoever_wrote_them_and_empty_folders_with_them(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, Limits(max_mb=100, max_days=1, min_free_mb=0))
    store.write("gate", "OLD", NOON, {"": b"x", CLEAN: b"x"})
    store.write("yard", "NEW", NOON, {"": b"x"})
    (tmp_path / "gate/2026-03-01/KILLED.part").write_bytes(b"half")
    foreign = tmp_path / "gate/2026-03-01/notes.txt"
    foreign.write_text("mine")
    for path in (tmp_path / "gate/2026-03-01").iterdir():
        aged(path, 2 * 86400)
    assert store.tidy() == {"OLD", "KILLED"}
    assert files(tmp_path) == ["gate/2026-03-01/notes.txt", "yard/2026-03-01/NEW.jpg"], "only its own are removed"
    foreign.unlink()
    store.tidy()
    assert not (tmp_path / "gate").exists()


def test_free_space_is_kept_by_removing_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SnapshotStore(tmp_path, Limits(max_mb=100, max_days=10, min_free_mb=50))
    for number in range(4):
        store.write("gate", f"E{number}", NOON, {"": b"x"})
        aged(tmp_path / "gate/2026-03-01" / f"E{number}.jpg", 100 - number)

    class Usage:
        @property
        def free(self) -> int:
            return (52 - len(files(tmp_path))) * MB

    monkeypatch.setattr("edged.analysis.snapshots.store.shutil.disk_usage", lambda _: Usage())
    assert not store.has_room
    assert store.tidy() == {"E0", "E1"}
    assert store.has_room


def test_directory_that_cannot_be_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"snapshots .*/file/deeper: Not a directory; give it to this user"):
        SnapshotStore(tmp_path / "file" / "deeper", AMPLE)


def test_failed_write_leaves_the_picture_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SnapshotStore(tmp_path, AMPLE)
    store.write("gate", "E", NOON, {"": b"first"})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        store.write("gate", "E", NOON, {"": b"second"})
    assert files(tmp_path) == ["gate/2026-03-01/E.jpg"]
    assert (tmp_path / "gate/2026-03-01/E.jpg").read_bytes() == b"first"
