"""What a disk that fails, is slow or full costs: few messages, each counted, each by a delivery number left out."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edged.publish import outbox as module
from edged.publish.counters import MessageTally
from edged.publish.outbox import Outbox
from edged.publish.outbox_store import OutboxStore
from tests.brokers import wait_for
from tests.publish.opened import Disk, numbers, opened
from tests.publish.results import outbox_options


def good(_delivery: int) -> bytes:
    return b"seen"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_outbox_catches_up_in_few_commits_once_the_disk_works_again(tmp_path: Path, disk: Disk) -> None:
    with opened(tmp_path, queue_messages=400) as ours:
        disk.failing.set()
        ours.put(400)
        wait_for(lambda: ours.outbox._failures > module.FAST_RETRIES, what="groups of one row")
        disk.failing.clear()
        ours.take(256)
        wait_for(lambda: ours.outbox._store is not None and ours.outbox._store.count == 400)
        # With a commit a message, a disk that syncs slower than messages come would drop them for ever.
        assert disk.commits <= 12


def test_outbox_gap_of_dropped_messages_shows_with_the_next_message_also_over_a_restart(
    tmp_path: Path, disk: Disk
) -> None:
    with opened(tmp_path, queue_messages=50) as ours:
        ours.put(1)
        heard = [row.delivery for row in ours.take(1)]
        disk.failing.set()
        ours.put(60, first=1)
        wait_for(lambda: sum(ours.dropped().values()) == 10)
        assert heard == [1], "ten are dropped, and no number is missing yet of what was heard"
        disk.failing.clear()
    with opened(tmp_path) as again:
        heard += [row.delivery for row in again.take(51)][1:]  # the first was never confirmed
        assert heard == [1, *range(12, 62)]
        again.put(1, first=61)
        assert again.take(1)[0].delivery == 62
        assert not again.dropped()


def test_outbox_lost_numbers_stay_left_out_where_the_next_message_cannot_be_encoded(tmp_path: Path) -> None:
    def broken(_delivery: int) -> bytes:
        raise ValueError("not finite")

    outbox = Outbox(outbox_options(tmp_path, queue_messages=2), tally=MessageTally())
    for encode in (good, good, broken, good):
        outbox.put("topic", encode)
    outbox._round()
    for encode in (good, good, broken, broken):
        outbox.put("topic", encode)
    outbox._round()
    outbox.put("topic", good)
    outbox._round()
    outbox.close(1)
    with closing(OutboxStore(tmp_path)) as kept:
        assert [row.delivery for row in kept.read(after=0, limit=9)] == [4, 9]


@pytest.mark.parametrize("before", [0, 1], ids=["of all", "of some"])
def test_outbox_last_messages_before_a_stop_leave_their_numbers_out_where_they_cannot_be_encoded(
    tmp_path: Path, before: int
) -> None:
    def broken(_delivery: int) -> bytes:
        raise ValueError("not finite")

    with opened(tmp_path) as ours:
        ours.put(before)
        for _ in range(2):
            ours.outbox.put("topic", broken)
    assert ours.dropped() == {"invalid": 2}
    with opened(tmp_path) as again:
        again.put(1)
        assert [row.delivery for row in again.take(before + 1)] == [*range(1, before + 1), before + 3]


def test_outbox_loses_nothing_while_the_disk_does_not_say_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failing = os.statvfs, threading.Event()

    def statvfs(path: Any) -> os.statvfs_result:
        if failing.is_set():
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    with opened(tmp_path) as ours:
        ours.put(1)
        ours.take(1)
        failing.set()
        ours.put(20, first=1)
        wait_for(lambda: "Input/output" in ours.tally.last_error)
        failing.clear()
        assert [n for _, n in numbers(ours.take(20))] == list(range(1, 21))
        assert not ours.dropped()
