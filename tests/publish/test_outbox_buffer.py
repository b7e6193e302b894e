from __future__ import annotations

from dataclasses import replace

import pytest

from edged.publish.counters import MessageTally
from edged.publish.outbox_buffer import READY_MAX, Entry, OutboxBuffer
from edged.publish.outbox_store import Row


def row(delivery: int) -> Row:
    return Row(delivery, "t", b"")


def entry() -> Entry:
    return Entry("t", lambda _delivery: b"")


@pytest.fixture
def tally() -> MessageTally:
    return MessageTally()


@pytest.fixture
def buffer(tally: MessageTally) -> OutboxBuffer:
    return OutboxBuffer(capacity=3, tally=tally)


def drain(buffer: OutboxBuffer) -> list[int]:
    taken: list[int] = []
    while (each := buffer.take()) is not None:
        taken.append(each.delivery)
    return taken


def test_buffer_rows_read_before_a_rewind_are_not_offered_after_it(buffer: OutboxBuffer) -> None:
    buffer.opened(committed=600, stored=600)
    buffer.refill([row(n) for n in range(1, 257)], after=buffer.refill_after())
    assert len(drain(buffer)) == 256
    after = buffer.refill_after()
    assert after == 256
    buffer.rewind()
    buffer.refill([row(n) for n in range(257, 513)], after=after)
    assert drain(buffer) == [], "257 before 1 would break the order"
    assert buffer.refill_after() == 0


def test_buffer_new_rows_wait_for_older_ones_on_disk(buffer: OutboxBuffer) -> None:
    buffer.opened(committed=5, stored=5)
    assert not buffer.committed([row(6)], committed=6, stored=6, oldest=0)
    assert drain(buffer) == []
    buffer.refill([row(n) for n in range(1, 7)], after=buffer.refill_after())
    assert drain(buffer) == [1, 2, 3, 4, 5, 6]
    assert buffer.committed([row(7)], committed=7, stored=7, oldest=0)
    assert drain(buffer) == [7]


def test_buffer_memory_is_bounded_by_leaving_rows_on_disk(buffer: OutboxBuffer) -> None:
    for start in range(1, 2001, 100):
        rows = [row(n) for n in range(start, start + 100)]
        buffer.committed(rows, committed=start + 99, stored=start + 99, oldest=0)
    assert len(drain(buffer)) <= READY_MAX
    assert buffer.refill_after() <= READY_MAX


def test_buffer_rows_dropped_from_disk_are_not_sent_from_memory(buffer: OutboxBuffer) -> None:
    buffer.committed([row(n) for n in range(1, 6)], committed=5, stored=5, oldest=0)
    buffer.committed([row(6)], committed=6, stored=3, oldest=4)
    assert drain(buffer) == [4, 5, 6]


def test_buffer_confirmed_rows_are_not_offered_again(buffer: OutboxBuffer) -> None:
    buffer.opened(committed=4, stored=4)
    buffer.acknowledge(2)
    buffer.refill([row(n) for n in range(1, 5)], after=buffer.refill_after())
    assert drain(buffer) == [1, 3, 4]


def test_buffer_failed_work_comes_back_first_and_drops_are_the_disks(buffer: OutboxBuffer, tally: MessageTally) -> None:
    entries = [entry() for _ in range(5)]
    for each in entries[:3]:
        buffer.put(each)
    buffer.acknowledge(9)
    work = buffer.next_work(2)
    assert (work.entries, work.confirmed, work.more) == (entries[:2], [9], True)
    assert buffer.waiting == 3
    buffer.take_back(work.entries, work.confirmed, failing=True)
    for each in entries[3:]:
        buffer.put(each)
    work = buffer.next_work(10)
    oldest = replace(entries[2], lost_before=2)
    assert (work.entries, work.confirmed, work.more) == ([oldest, *entries[3:]], [9], False)
    assert dict(tally.snapshot(waiting=0).dropped) == {"outbox_disk": 2}
