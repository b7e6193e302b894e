"""An outbox in a test's hands, and a disk that fails when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edged.publish import outbox as module
from edged.publish.counters import MessageTally
from edged.publish.outbox import Outbox
from edged.publish.outbox_file import StoreFailedError
from edged.publish.outbox_store import OutboxStore, Row
from tests.brokers import wait_for
from tests.publish.results import outbox_options


class Opened:
    """An outbox, its counters and how often it said that something is ready."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.tally = MessageTally()
        self.said_ready = 0
        self.outbox = Outbox(outbox_options(folder, **changes), tally=self.tally)
        self.outbox.start(on_ready=self._note)

    def _note(self) -> None:
        self.said_ready += 1

    def put(self, count: int, *, first: int = 0) -> None:
        for number in range(first, first + count):
            self.outbox.put("topic", lambda delivery, n=number: json.dumps([delivery, n]).encode())  # type: ignore[misc]

    def take(self, count: int) -> list[Row]:
        """Wait for so many rows."""
        rows: list[Row] = []

        def got_them() -> bool:
            while (row := self.outbox.take()) is not None:
                rows.append(row)
            return len(rows) >= count

        wait_for(got_them, what=f"{count} rows")
        return rows

    def dropped(self) -> dict[str, int]:
        return dict(self.tally.snapshot(waiting=0).dropped)


@contextmanager
def opened(folder: Path, **changes: object) -> Iterator[Opened]:
    ours = Opened(folder, **changes)
    try:
        yield ours
    finally:
        ours.outbox.close(5)


def numbers(rows: list[Row]) -> list[tuple[int, int]]:
    """(delivery, number) as the payloads say; the rows' own delivery must agree."""
    content = [tuple(json.loads(row.payload)) for row in rows]
    assert [delivery for delivery, _ in content] == [row.delivery for row in rows]
    return content


class Disk:
    """Lets commits of every outbox fail while told to, and counts those that succeed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing = threading.Event()
        self.commits = 0
        real = OutboxStore.commit

        def commit(store: OutboxStore, rows: Any, confirmed: Any, **more: int) -> dict[str, int]:
            if self.failing.is_set():
                raise StoreFailedError("outbox: disk I/O error")
            dropped = real(store, rows, confirmed, **more)
            self.commits += bool(rows)
            return dropped

        monkeypatch.setattr(OutboxStore, "commit", commit)
        monkeypatch.setattr(module, "RETRY_S", 0.02)
