"""The outbox's SQLite file: each message is a row, from before it is sent until it is confirmed.

One thread uses it. WAL with `synchronous=FULL`: committed rows survive a power cut.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.publish.identity import boot_id
from edged.publish.outbox_file import DATABASE, StoreCorruptError, translated
from edged.publish.outbox_journal import NO_MARK, Mark, note_mark, prepare_journal, read_journal
from edged.publish.outbox_reservation import read_reservation, write_reservation

SCHEMA_VERSION = 1
RESERVED_AT_ONCE = 10_000

_CHUNK = 256
_PAGE_BYTES = 4096
# Below this much free disk, or this share of a small one, the outbox drops its oldest instead of growing: SQLite
# needs free space even to remove rows.
_HEADROOM_BYTES = 8 << 20
_HEADROOM_SHARE = 0.25
_SCHEMA = """
CREATE TABLE message(
  delivery INTEGER PRIMARY KEY AUTOINCREMENT,
  boot_id TEXT NOT NULL, boot_s REAL NOT NULL, wall_s REAL NOT NULL,
  topic TEXT NOT NULL, payload BLOB NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One durable message."""

    delivery: int
    topic: str
    payload: bytes
    mark: Mark = NO_MARK


class OutboxStore:
    """An open outbox file in a directory that exists.

    Attributes:
        next_delivery: number of the next row.
        count: rows on disk.
        bytes: sum of their payloads.
        dropped_below: all rows with a smaller number were dropped or confirmed.
        journal: what was kept beside the messages when the file was opened.

    Raises:
        StoreCorruptError: damaged; `quarantine` it and open again.
        StoreFailedError: cannot be opened now.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / DATABASE
        self._boot_id = boot_id()
        self.count = self.bytes = self.dropped_below = 0
        with translated(self._path):
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=1.0)
        try:
            with translated(self._path):
                self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        verdict = self._one("PRAGMA quick_check(1)")  # before anything is written into a file that may be damaged
        if verdict != "ok":
            raise StoreCorruptError(f"outbox {self._path} is damaged: {verdict}")
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {max(16, self._headroom() // (4 * _PAGE_BYTES))}")
        self._db.execute(f"PRAGMA journal_size_limit = {self._headroom() // 2}")
        self._require_schema()
        prepare_journal(self._db)
        self.journal = read_journal(self._db)
        self._reserved = read_reservation(self._directory)
        # A new file after a lost one must not reuse numbers: consumers would discard its messages as repeats.
        self.next_delivery = 1 + (self._number("SELECT TOTAL(seq) FROM sqlite_sequence") or self._reserved)
        self.count = self._number("SELECT COUNT(*) FROM message")
        self.bytes = self._number("SELECT TOTAL(LENGTH(payload)) FROM message")

    def _require_schema(self) -> None:
        version = self._number("PRAGMA user_version")
        if version == 0:
            with self._transaction():
                self._db.execute(_SCHEMA)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise StoreCorruptError(f"outbox {self._path} has version {version}, expected {SCHEMA_VERSION}")

    def _one(self, statement: str) -> object:
        row = self._db.execute(statement).fetchone()
        return row[0] if row else None

    def _number(self, statement: str) -> int:
        value = self._one(statement)
        return int(value) if isinstance(value, (int, float)) else 0

    def _headroom(self) -> int:
        disk = os.statvfs(self._directory)
        return int(min(_HEADROOM_BYTES, _HEADROOM_SHARE * disk.f_blocks * disk.f_frsize))

    @property
    def group_bytes(self) -> int:
        """Most bytes of payloads in one commit, so that it, its removals and the log of both fit into the headroom.

        Raises:
            StoreFailedError: the disk's size cannot be read.
        """
        with translated(self._path):
            return max(1, self._headroom() // 8)

    def _may_grow(self) -> bool:
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize > self._headroom()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        before = self.count, self.bytes, self.dropped_below
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self.count, self.bytes, self.dropped_below = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def commit(
        self, rows: Sequence[Row], confirmed: Sequence[int], *, max_bytes: int, following: int = 0
    ) -> dict[str, int]:
        """Add `rows`, with ascending numbers from `next_delivery` on, and remove `confirmed` ones; all or nothing.

        `following` is the number of the next row, if numbers after these rows must be skipped.

        Returns:
            How many of the oldest unconfirmed rows were dropped, by cause: `outbox_bytes` to stay within `max_bytes`,
            `outbox_disk` where the disk is nearly full.

        Raises:
            StoreCorruptError, StoreFailedError: nothing was changed.
        """
        with translated(self._path):
            following = max(following, rows[-1].delivery + 1 if rows else self.next_delivery)
            if following > self._reserved:
                write_reservation(self._directory, following + RESERVED_AT_ONCE)
                self._reserved = following + RESERVED_AT_ONCE
            room = max_bytes if self._may_grow() else min(self.bytes, max_bytes)
            with self._transaction():
                self._remove(list(confirmed))
                self._insert(rows)
                self._leave_out(following)
                dropped = self._shrink_to(room)
        self.next_delivery = following
        return {"outbox_bytes" if room == max_bytes else "outbox_disk": dropped} if dropped else {}

    def _insert(self, rows: Sequence[Row]) -> None:
        now = (self._boot_id, time.clock_gettime(time.CLOCK_BOOTTIME), time.time())
        self._db.executemany(
            "INSERT INTO message(delivery, boot_id, boot_s, wall_s, topic, payload) VALUES (?, ?, ?, ?, ?, ?)",
            [(row.delivery, *now, row.topic, row.payload) for row in rows],
        )
        for row in rows:
            if row.mark is not NO_MARK:
                note_mark(self._db, row.mark, row.payload)
        self.count += len(rows)
        self.bytes += sum(len(row.payload) for row in rows)

    def _leave_out(self, following: int) -> None:
        """Make sure that no row gets a number below `following`, also after a restart."""
        if following - 1 > self._number("SELECT TOTAL(seq) FROM sqlite_sequence"):
            self._db.execute("DELETE FROM sqlite_sequence WHERE name = 'message'")
            self._db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES ('message', ?)", (following - 1,))

    def _remove(self, deliveries: Sequence[int]) -> int:
        removed = 0
        for delivery in deliveries:
            found = self._db.execute("SELECT LENGTH(payload) FROM message WHERE delivery = ?", (delivery,)).fetchone()
            if found:
                self._db.execute("DELETE FROM message WHERE delivery = ?", (delivery,))
                self.count -= 1
                self.bytes -= int(found[0])
                removed += 1
        return removed

    def _shrink_to(self, max_bytes: int) -> int:
        dropped = 0
        while self.bytes > max_bytes and self.count > 1:
            surplus = self.bytes - max_bytes
            oldest: list[int] = []
            for delivery, size in self._db.execute(
                "SELECT delivery, LENGTH(payload) FROM message ORDER BY delivery LIMIT ?", (_CHUNK,)
            ):
                if surplus <= 0 or len(oldest) == self.count - 1:
                    break
                oldest.append(delivery)
                surplus -= size
            dropped += self._drop(oldest)
        return dropped

    def _drop(self, oldest: Sequence[int]) -> int:
        self.dropped_below = oldest[-1] + 1
        return self._remove(oldest)

    def expire(self, max_age_s: float) -> int:
        """Drop some rows older than `max_age_s`; returns how many, 0 where none is left.

        Ages within one boot do not depend on the wall clock.

        Raises:
            StoreCorruptError, StoreFailedError: nothing was changed.
        """
        with translated(self._path):
            old = self._oldest_beyond(max_age_s)
            if not old:
                return 0
            with self._transaction():
                return self._drop(old)

    def oldest_s(self) -> float:
        """Age of the oldest row, seconds; 0 where there is none.

        Raises:
            StoreCorruptError, StoreFailedError: cannot be read.
        """
        with translated(self._path):
            found = self._db.execute("SELECT boot_id, boot_s, wall_s FROM message ORDER BY delivery LIMIT 1").fetchone()
        if found is None:
            return 0.0
        boot, boot_s, wall_s = found
        return max(0.0, self._age_s(boot, boot_s, wall_s, time.clock_gettime(time.CLOCK_BOOTTIME), time.time()))

    def _age_s(self, boot: str, then_boot_s: float, then_wall_s: float, boot_s: float, wall_s: float) -> float:
        return boot_s - then_boot_s if boot == self._boot_id else wall_s - then_wall_s

    def _oldest_beyond(self, max_age_s: float) -> list[int]:
        boot_s, wall_s = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
        old: list[int] = []
        for delivery, boot, then_boot_s, then_wall_s in self._db.execute(
            "SELECT delivery, boot_id, boot_s, wall_s FROM message ORDER BY delivery LIMIT ?", (_CHUNK,)
        ):
            if self._age_s(boot, then_boot_s, then_wall_s, boot_s, wall_s) <= max_age_s:
                break
            old.append(int(delivery))
        return old

    def read(self, *, after: int, limit: int) -> list[Row]:
        """The first `limit` rows with numbers above `after`.

        Raises:
            StoreCorruptError, StoreFailedError: cannot be read.
        """
        with translated(self._path):
            found = self._db.execute(
                "SELECT delivery, topic, payload FROM message WHERE delivery > ? ORDER BY delivery LIMIT ?",
                (after, limit),
            ).fetchall()
        return [Row(int(delivery), str(topic), bytes(payload)) for delivery, topic, payload in found]

    def tidy(self) -> None:
        """Free some space of removed rows in the file system; call it when there is nothing else to do."""
        with translated(self._path):
            if self._number("PRAGMA freelist_count") > _CHUNK:
                # It frees one page per step: `execute` would do the first only.
                self._db.executescript(f"PRAGMA incremental_vacuum({_CHUNK})")

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
