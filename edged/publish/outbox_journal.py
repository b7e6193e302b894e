"""What the outbox's file keeps beside its messages: matters that a message opened and none has closed, and counters.

They change in the same transaction as the message that says so: after a crash both are there, or neither.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

SINCE = "since"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS open_matter(key TEXT PRIMARY KEY, payload BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS counter(key TEXT PRIMARY KEY, number INTEGER NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a message changes beside being sent.

    Attributes:
        key: of the matter that it is about; empty for none.
        closes: the matter is over; else the message is kept as the latest about it.
        added: what it adds to counters, by name.
    """

    key: str = ""
    closes: bool = False
    added: Mapping[str, int] = field(default_factory=dict)


NO_MARK = Mark()


@dataclass(frozen=True, slots=True)
class Journal:
    """What an outbox's file keeps.

    Attributes:
        open: the latest message of each open matter, by its key.
        counters: by name.
        since_s: when the counting began, seconds since 1970.
    """

    open: Mapping[str, bytes]
    counters: Mapping[str, int]
    since_s: float


def prepare_journal(db: sqlite3.Connection) -> None:
    """Make the tables where they are missing. An older release of edged leaves them alone."""
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute("INSERT OR IGNORE INTO counter(key, number) VALUES (?, ?)", (SINCE, int(time.time() * 1e6)))


def read_journal(db: sqlite3.Connection) -> Journal:
    """All that is kept."""
    matters = {str(key): bytes(payload) for key, payload in db.execute("SELECT key, payload FROM open_matter")}
    counters = {str(key): int(number) for key, number in db.execute("SELECT key, number FROM counter")}
    return Journal(matters, counters, counters.pop(SINCE, 0) / 1e6)


def note_mark(db: sqlite3.Connection, mark: Mark, payload: bytes) -> None:
    """Do what `mark` says, of a message with this payload; within the transaction that adds the message."""
    if mark.closes:
        db.execute("DELETE FROM open_matter WHERE key = ?", (mark.key,))
    elif mark.key:
        db.execute("INSERT OR REPLACE INTO open_matter(key, payload) VALUES (?, ?)", (mark.key, payload))
    for key, number in mark.added.items():
        db.execute(
            "INSERT INTO counter(key, number) VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET number = number + ?",
            (key, number, number),
        )
