from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edged.core.errors import ConfigError
from edged.view import book as module
from edged.view.book import EventBook, Wanted

NINE = datetime(2026, 3, 1, 12, 0, 9, tzinfo=timezone.utc)
AT = "2026-03-01T12:00:{:02d}.000000Z"


def message(event: str, kind: str = "start", revision: int = 0, *, second: int = 0, **changes: Any) -> dict[str, Any]:
    made = {
        "kind": "event",
        "type": kind,
        "because": [],
        "duration_s": 1.0,
        "event": event,
        "revision": revision,
        "camera": "gate",
        "label": "person",
        "started_at": AT.format(second),
        "ended_at": AT.format(second + 1) if kind == "end" else None,
        "zones": [],
    }
    return {**made, **changes}


def names(book: EventBook, **wanted: Any) -> list[str]:
    return [each["event"] for each in book.find(Wanted(**wanted))]


def test_events_are_found_by_what_they_are() -> None:
    book = EventBook(None)
    book.add(message("A", second=1))
    book.add(message("B", second=2, camera="yard", label="car"))
    book.add(message("C", second=3, zones=[{"name": "drive"}, {"name": "door"}]))
    assert names(book) == ["C", "B", "A"]
    assert names(book, camera="yard") == ["B"]
    assert names(book, label="person") == ["C", "A"]
    assert names(book, zone="door") == ["C"]
    assert names(book, zone="doo") == []
    assert names(book, since=AT.format(2)) == ["C", "B"]
    assert names(book, until=AT.format(2)) == ["A"]
    assert names(book, limit=1) == ["C"]
    assert names(book, label='car" OR 1=1 --') == []


def test_a_story_is_told_in_order_and_once() -> None:
    book = EventBook(None)
    for each in (message("A", "update", 1), message("A"), message("A", "end", 2), message("A", "update", 1)):
        book.add(each)
    assert [each["type"] for each in book.story("A")] == ["start", "update", "end"]
    assert book.story("B") == []


def test_what_is_open_and_not_there_any_more_is_ended() -> None:
    book = EventBook(None)
    book.add(message("A"))
    book.add(message("B"))
    book.add(message("C"))
    book.add(message("C", "end", 1))
    ended = book.close_others(["B"], because="restart", at=NINE)
    assert [(each["event"], each["type"], each["because"]) for each in ended] == [("A", "end", ["restart"])]
    assert [each["type"] for each in book.story("A")] == ["start", "end"]
    assert book.story("A")[-1]["ended_at"] == AT.format(9)
    assert book.close_others(["B"], because="restart", at=NINE) == []


def test_it_is_kept_over_a_restart(tmp_path: Path) -> None:
    first = EventBook(tmp_path / "sub" / "events.db")
    first.add(message("A"))
    first.close()
    assert names(EventBook(tmp_path / "sub" / "events.db")) == ["A"]


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EVENTS", 10)
    monkeypatch.setattr(module, "PRUNE_EVERY", 5)
    book = EventBook(None)
    for number in range(25):
        book.add(message(f"E{number:02d}", second=number))
    assert names(book, limit=100)[:10] == [f"E{number:02d}" for number in range(24, 14, -1)]
    assert len(names(book, limit=100)) <= 15
    assert book.story("E00") == []


def test_that_it_goes_on_is_no_story_and_a_story_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MESSAGES", 4)
    book = EventBook(None)
    book.add(message("A"))
    book.add(message("A", "update", 1, because=["heartbeat"], duration_s=60))
    assert [each["revision"] for each in book.story("A")] == [0, 1], "the latest is told all the same"
    for revision in range(2, 9):
        book.add(message("A", "update", revision, because=["zone"]))
    book.add(message("A", "end", 9))
    assert [each["revision"] for each in book.story("A")] == [0, 2, 3, 9]


def test_a_disk_that_fails_costs_history_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = EventBook(tmp_path / "events.db")
    book._database.execute("PRAGMA query_only = 1")
    for number in range(3):
        book.add(message(f"E{number}"))
    assert caplog.text.count("events cannot be kept") == 1
    book._database.execute("PRAGMA query_only = 0")
    book.add(message("A"))
    assert names(book) == ["A"]


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"this is no database" * 1000)
    book = EventBook(path)
    book.add(message("A"))
    assert names(book) == ["A"]
    assert (tmp_path / "events.damaged").read_bytes().startswith(b"this is no database")


def test_a_place_that_cannot_be_used_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="events cannot be kept in"):
        EventBook(tmp_path / "file" / "events.db")
