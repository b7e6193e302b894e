"""Every event that was heard, with its messages: looked up by camera, label, zone and time; bounded."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from edged.core.errors import ConfigError
from edged.feed.wire import Message
from edged.publish.event_payload import ended_payload

MOST_EVENTS = 20_000
PRUNE_EVERY = 200  # events; so many more may be there for a while
MOST_MESSAGES = 100  # of one event: its first ones, and its end
_DAMAGED = ("not a database", "malformed", "disk image")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  event TEXT PRIMARY KEY, camera TEXT NOT NULL, label TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT,
  zones TEXT NOT NULL, latest BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_start ON events (started_at);
CREATE TABLE IF NOT EXISTS messages (
  event TEXT NOT NULL, revision INTEGER NOT NULL, message BLOB NOT NULL, PRIMARY KEY (event, revision)) WITHOUT ROWID;
"""
_UPSERT = """
INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event) DO UPDATE SET
  label = excluded.label, ended_at = excluded.ended_at, zones = excluded.zones, latest = excluded.latest
"""
_OLD = "SELECT event FROM events ORDER BY started_at DESC, event DESC LIMIT -1 OFFSET ?"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are looked for; empty values do not matter.

    Attributes:
        camera, label, zone: names.
        since, until: RFC 3339, UTC, of their start.
        limit: the newest so many.
    """

    camera: str = ""
    label: str = ""
    zone: str = ""
    since: str = ""
    until: str = ""
    limit: int = 100


class EventBook:
    """One thread uses it. A disk that is full or fails costs history, and is said once.

    Args:
        path: file of the database; None keeps it in memory.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._added = 0
        self._failing = False
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._database = _opened(path)
        except (OSError, sqlite3.Error) as exc:
            remedy = "name another place"
            raise ConfigError(f"events cannot be kept in {path}: {exc}", remedy=remedy) from exc
        self._prune()

    def add(self, message: Message) -> None:
        """Note a message of an event; one that is known changes nothing, and one that goes on only its end."""
        zones = orjson.dumps([visit["name"] for visit in message["zones"]]).decode()
        encoded, event = orjson.dumps(message), message["event"]
        news = message["because"] != ["heartbeat"] and (message["revision"] < MOST_MESSAGES or message["type"] == "end")
        with self._written():
            if news:
                row = event, message["revision"], encoded
                self._database.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?)", row)
            facts = message["camera"], message["label"], message["started_at"], message["ended_at"]
            self._database.execute(_UPSERT, (event, *facts, zones, encoded))
        self._added += message["type"] == "start"
        if self._added >= PRUNE_EVERY:
            self._prune()

    def find(self, wanted: Wanted) -> list[Message]:
        """The latest message of each event, newest start first."""
        conditions = {
            "camera = ?": wanted.camera,
            "label = ?": wanted.label,
            "EXISTS (SELECT 1 FROM json_each(zones) WHERE value = ?)": wanted.zone,
            "started_at >= ?": wanted.since,
            "started_at < ?": wanted.until,
        }
        given = {condition: value for condition, value in conditions.items() if value}
        where = " AND ".join(given) or "1"
        rows = self._database.execute(
            f"SELECT latest FROM events WHERE {where} ORDER BY started_at DESC, event DESC LIMIT ?",  # noqa: S608 - our own words
            (*given.values(), wanted.limit),
        )
        return [orjson.loads(latest) for (latest,) in rows]

    def story(self, event: str) -> list[Message]:
        """The messages of an event in order, without those that only say that it goes on; the latest is the last."""
        rows = self._database.execute("SELECT message FROM messages WHERE event = ? ORDER BY revision", (event,))
        told = [orjson.loads(message) for (message,) in rows]
        found = self._database.execute("SELECT latest FROM events WHERE event = ?", (event,)).fetchone()
        latest = None if found is None else orjson.loads(found[0])
        return told if latest is None or (told and told[-1]["revision"] >= latest["revision"]) else [*told, latest]

    def labels(self) -> list[str]:
        """Every label that there is."""
        return [label for (label,) in self._database.execute("SELECT DISTINCT label FROM events ORDER BY label")]

    def close_others(self, still_open: Iterable[str], *, because: str, at: datetime) -> list[Message]:
        """End every event that is open here and not there any more; gives the messages that say so.

        Args:
            still_open: those that the daemon has.
            because: as in the messages of events.
            at: when that was known, UTC.
        """
        known = set(still_open)
        rows = self._database.execute("SELECT event, latest FROM events WHERE ended_at IS NULL").fetchall()
        left = [orjson.loads(latest) for event, latest in rows if event not in known]
        ended = [{**ended_payload(latest, because=because, at=at), "crossed": []} for latest in left]
        for message in ended:
            self.add(message)
        return ended

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _written(self) -> Iterator[None]:
        """A transaction; its failure is said once."""
        try:
            with self._database:
                yield
        except sqlite3.Error as exc:
            if not self._failing:
                logger.warning("events cannot be kept: %s", exc)
            self._failing = True
        else:
            self._failing = False

    def _prune(self) -> None:
        self._added = 0
        with self._written():
            old = self._database.execute(_OLD, (MOST_EVENTS,)).fetchall()
            self._database.executemany("DELETE FROM messages WHERE event = ?", old)
            self._database.executemany("DELETE FROM events WHERE event = ?", old)


def _opened(path: Path | None) -> sqlite3.Connection:
    """The database; a file that is damaged is put aside and begun anew."""
    try:
        return _connected(path)
    except sqlite3.DatabaseError as exc:
        if path is None or not any(word in str(exc) for word in _DAMAGED):
            raise
        logger.warning("%s is damaged (%s): put aside as %s", path, exc, path.with_suffix(".damaged").name)
    path.replace(path.with_suffix(".damaged"))
    for more in ("-wal", "-shm"):
        path.with_name(path.name + more).unlink(missing_ok=True)
    return _connected(path)


def _connected(path: Path | None) -> sqlite3.Connection:
    database = sqlite3.connect(path or ":memory:")
    try:
        database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database
