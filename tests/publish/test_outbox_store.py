from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.publish import outbox_store
from edged.publish.outbox_file import DATABASE, StoreCorruptError, StoreFailedError, quarantine
from edged.publish.outbox_reservation import RESERVATION
from edged.publish.outbox_store import RESERVED_AT_ONCE, OutboxStore, Row

BIG = 1 << 30


def rows(store: OutboxStore, count: int, *, size: int = 100) -> list[Row]:
    first = store.next_delivery
    return [Row(delivery, "t", bytes([delivery % 256]) * size) for delivery in range(first, first + count)]


def fill(store: OutboxStore, count: int, *, size: int = 100) -> list[Row]:
    new = rows(store, count, size=size)
    store.commit(new, [], max_bytes=BIG)
    return new


def deliveries(store: OutboxStore) -> list[int]:
    return [row.delivery for row in store.read(after=0, limit=10**6)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small tmpfs (needs root): disk full is not tested")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_store_gives_back_what_was_committed(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path)
    assert (store.next_delivery, store.count, store.bytes) == (1, 0, 0)
    new = fill(store, 5)
    assert store.read(after=0, limit=100) == new
    assert store.read(after=3, limit=1) == new[3:4]
    store.commit(rows(store, 1), [2, 3, 99], max_bytes=BIG)
    assert deliveries(store) == [1, 4, 5, 6]
    assert (store.count, store.bytes, store.next_delivery) == (4, 400, 7)
    store.close()
    store.close()


def test_store_numbers_are_never_used_twice(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path)
    fill(store, 5)
    store.commit([], [1, 2, 3, 4, 5], max_bytes=BIG)
    store.close()
    again = OutboxStore(tmp_path)
    assert (again.count, again.bytes, again.next_delivery) == (0, 0, 6)
    again.close()


def test_store_numbers_survive_the_loss_of_the_file(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path)
    last = fill(store, 5)[-1].delivery
    store.close()
    assert quarantine(tmp_path).exists()
    fresh = OutboxStore(tmp_path)
    assert last < fresh.next_delivery <= last + RESERVED_AT_ONCE + 2
    fresh.close()


def test_store_reservation_grows_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_store, "RESERVED_AT_ONCE", 7)
    store = OutboxStore(tmp_path)
    for _ in range(20):
        fill(store, 3)
        assert int((tmp_path / RESERVATION).read_text()) >= store.next_delivery - 1
    store.close()


def test_store_gives_no_number_that_could_not_be_reserved(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path)
    blocked = tmp_path / f"{RESERVATION}.tmp"
    blocked.mkdir()
    for _ in range(2):
        with pytest.raises(StoreFailedError):
            store.commit(rows(store, 1), [], max_bytes=BIG)
    blocked.rmdir()
    fill(store, 1)
    assert int((tmp_path / RESERVATION).read_text()) >= 1
    store.close()


def test_store_drops_the_oldest_beyond_its_bytes(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path)
    dropped = [store.commit(rows(store, 3), [], max_bytes=1000) for _ in range(6)]
    assert deliveries(store) == list(range(9, 19))
    assert sum(each.get("outbox_bytes", 0) for each in dropped) == 8
    assert store.bytes == 1000
    store.close()


def test_store_expires_by_the_clock_that_does_not_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OutboxStore(tmp_path)
    fill(store, 300)
    monkeypatch.setattr("edged.publish.outbox_store.time.time", lambda: 9e9)  # the wall clock steps by centuries
    assert store.expire(3600) == 0
    boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(time, "clock_gettime", lambda _: boot_s + 7200)
    fill(store, 2)
    assert [store.expire(3600), store.expire(3600), store.expire(3600)] == [256, 44, 0]
    assert store.dropped_below == 301
    assert store.count == 2
    store.close()
    monkeypatch.setattr(outbox_store, "boot_id", lambda: "another boot")
    monkeypatch.setattr(time, "time", lambda: 9e9 + 7200)
    later = OutboxStore(tmp_path)
    assert later.expire(3600) == 2
    later.close()


def test_store_files_are_private(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path)
    fill(store, 1)
    assert {name: oct((tmp_path / name).stat().st_mode & 0o777) for name in os.listdir(tmp_path)} == dict.fromkeys(
        os.listdir(tmp_path), "0o600"
    )
    store.close()


def damage(file: Path, *, seed: int) -> None:
    """Overwrite one page of the file, not the first."""
    pages = file.stat().st_size // 4096
    with file.open("r+b") as opened:
        opened.seek(4096 * random.Random(seed).randrange(1, pages))
        opened.write(random.Random(seed).randbytes(4096))


@pytest.mark.parametrize("seed", range(5))
def test_store_damaged_page_is_noticed_at_open(tmp_path: Path, seed: int) -> None:
    store = OutboxStore(tmp_path)
    fill(store, 500, size=500)
    store.close()
    damage(tmp_path / DATABASE, seed=seed)
    with pytest.raises(StoreCorruptError, match="damaged"):
        OutboxStore(tmp_path)


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0" + bytes(84), bytes(8192)])
def test_store_file_that_is_no_database_is_noticed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(StoreCorruptError, match="damaged"):
        OutboxStore(tmp_path)


def test_store_of_another_version_is_not_touched(tmp_path: Path) -> None:
    OutboxStore(tmp_path).close()
    database = sqlite3.connect(tmp_path / DATABASE)
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(StoreCorruptError, match="version 9"):
        OutboxStore(tmp_path)


def test_store_that_cannot_be_opened_is_a_failure_not_damage(tmp_path: Path) -> None:
    with pytest.raises(StoreFailedError, match="No such file"):
        OutboxStore(tmp_path / "missing")


def test_store_failed_commit_changes_nothing(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path)
    fill(store, 3)
    with pytest.raises(StoreFailedError, match="UNIQUE"):
        store.commit([Row(4, "t", b"x"), Row(2, "t", b"again")], [1], max_bytes=BIG)
    assert (store.count, store.bytes, store.next_delivery) == (3, 300, 4)
    assert deliveries(store) == [1, 2, 3]
    store.close()


def test_store_small_disk_holds_the_newest(small_disk: Path) -> None:
    store = OutboxStore(small_disk)
    committed = dropped = 0
    for _ in range(200):
        new = rows(store, 10, size=1000)
        lost = store.commit(new, [], max_bytes=BIG)
        committed += len(new)
        dropped += lost.get("outbox_disk", 0)
    assert dropped > 1000
    assert committed == dropped + store.count
    kept = deliveries(store)
    assert kept == list(range(committed - len(kept) + 1, committed + 1))
    assert store.bytes > 200_000, "most of the disk should be used"
    store.close()


def fill_disk(folder: Path) -> Path:
    ballast = folder / "ballast"
    with pytest.raises(OSError, match="space"):
        ballast.write_bytes(bytes(2 << 20))
    return ballast


def test_store_disk_filled_by_others_still_takes_the_newest(small_disk: Path) -> None:
    store = OutboxStore(small_disk)
    fill(store, 100, size=1000)
    fill_disk(small_disk)
    dropped = 0
    for _ in range(50):
        dropped += store.commit(rows(store, 5, size=1000), [], max_bytes=BIG).get("outbox_disk", 0)
    assert deliveries(store) == list(range(dropped + 1, 351))
    store.close()


def test_store_disk_full_before_its_start_is_a_failure_that_passes(small_disk: Path) -> None:
    ballast = fill_disk(small_disk)
    with pytest.raises(StoreFailedError, match=r"full|space|I/O|unable"):
        OutboxStore(small_disk)
    ballast.unlink()
    store = OutboxStore(small_disk)
    fill(store, 5)
    assert deliveries(store) == [1, 2, 3, 4, 5]
    store.close()


def test_store_gives_space_back_when_idle(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path)
    new = fill(store, 3000, size=1000)
    grown = (tmp_path / DATABASE).stat().st_size
    store.commit([], [row.delivery for row in new], max_bytes=BIG)
    for _ in range(10):
        store.tidy()
    store.close()
    assert (tmp_path / DATABASE).stat().st_size < grown / 2
