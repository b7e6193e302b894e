"""The outbox's memory: messages that wait for the disk, committed ones that wait for the network, confirmed ones."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edged.publish.counters import MessageTally
from edged.publish.outbox_journal import NO_MARK, Mark
from edged.publish.outbox_store import Row

READY_MAX = 256
REFILL_BELOW = READY_MAX // 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that waits for the disk.

    Attributes:
        topic: where to.
        encode: makes its payload from its delivery number.
        mark: what it changes in the journal.
        lost_before: messages dropped directly before it; a delivery number is skipped for each.
    """

    topic: str
    encode: Callable[[int], bytes]
    mark: Mark = NO_MARK
    lost_before: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """The content of the next commit.

    Attributes:
        entries: messages to add, in order.
        confirmed: deliveries to remove.
        more: whether further entries wait.
    """

    entries: list[Entry]
    confirmed: list[int]
    more: bool


class OutboxBuffer:
    """Thread-safe. Callers put, take and acknowledge; one writer thread moves messages to and from the disk.

    Args:
        capacity: most entries that wait for the disk; further ones drop the oldest.
        tally: counts drops as `outbox_queue`, or `outbox_disk` while commits fail.
    """

    def __init__(self, *, capacity: int, tally: MessageTally) -> None:
        self._capacity = capacity
        self._tally = tally
        self._changed = threading.Condition()
        self._pending: deque[Entry] = deque()
        self._confirmed: list[int] = []
        self._ready: deque[Row] = deque()
        self._loaded = 0  # highest delivery that was put into _ready since the last rewind
        self._committed = 0  # highest delivery on disk
        self._stored = 0
        self._committing = 0
        self._failing = False
        self._idle = False
        self._shut = False
        self._closing = False

    def put(self, entry: Entry) -> None:
        """Accept a message; a full queue drops its oldest."""
        with self._changed:
            if self._shut:
                self._tally.drop("closed")
                return
            self._pending.append(entry)
            self._bound_pending()
            self._notify_idle()

    def _bound_pending(self) -> None:
        surplus = max(0, len(self._pending) - self._capacity)
        lost = sum(1 + self._pending.popleft().lost_before for _ in range(surplus))
        if lost and self._pending:
            oldest = self._pending[0]
            self._pending[0] = replace(oldest, lost_before=oldest.lost_before + lost)
        self._tally.drop("outbox_disk" if self._failing else "outbox_queue", surplus)

    def _notify_idle(self) -> None:
        # Between two commits a context switch per message would gain nothing.
        if self._idle:
            self._changed.notify()

    @property
    def ready(self) -> bool:
        """Whether `take` would return a message."""
        return bool(self._ready)

    @property
    def waiting(self) -> int:
        """Number of messages that were accepted and not confirmed."""
        with self._changed:
            return len(self._pending) + self._committing + max(0, self._stored - len(self._confirmed))

    def take(self) -> Row | None:
        """Take the next committed message to send, in order of delivery; None where there is none."""
        with self._changed:
            if not self._ready:
                return None
            row = self._ready.popleft()
            if self._wants_refill():
                self._changed.notify()
            return row

    def acknowledge(self, delivery: int) -> None:
        """The broker confirmed a message: it may be removed from disk."""
        with self._changed:
            self._confirmed.append(delivery)
            self._notify_idle()

    def rewind(self) -> None:
        """Start again from the oldest message that was not acknowledged."""
        with self._changed:
            self._ready.clear()
            self._loaded = 0
            self._changed.notify()

    def shut(self) -> None:
        """Accept no more."""
        with self._changed:
            self._shut = True

    def close(self) -> bool:
        """Accept no more and let the writer finish; False if it was called before."""
        with self._changed:
            first, self._shut, self._closing = not self._closing, True, True
            self._changed.notify()
            return first

    def abandon(self) -> None:
        """Drop and count messages that never reached the disk."""
        with self._changed:
            self._tally.drop("outbox_disk", len(self._pending))
            self._pending.clear()

    def await_work(self, timeout_s: float) -> bool:
        """Writer: wait until there is something to do, up to `timeout_s`; True if this is the last round."""
        with self._changed:
            if not (self._closing or self._pending or self._confirmed or self._wants_refill()):
                self._idle = True
                self._changed.wait(timeout_s)
                self._idle = False
            return self._closing

    def pause(self, seconds: float) -> None:
        """Writer: wait for more messages for the next commit; ends early when the network has nothing left to send."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._closing and (left_s := until - time.monotonic()) > 0:
                if not (self._failing or self._ready) and self._wants_refill():
                    return
                self._changed.wait(left_s)

    def _wants_refill(self) -> bool:
        return self._loaded < self._committed and len(self._ready) < REFILL_BELOW

    def opened(self, *, committed: int, stored: int) -> None:
        """Writer: the file holds `stored` rows, up to delivery `committed`."""
        with self._changed:
            self._committed, self._stored, self._loaded = committed, stored, 0
            self._ready.clear()

    def next_work(self, most_entries: int) -> Work:
        """Writer: take what to commit; give it back with `take_back` if that fails."""
        with self._changed:
            entries = [self._pending.popleft() for _ in range(min(len(self._pending), most_entries))]
            confirmed, self._confirmed = self._confirmed, []
            self._committing = len(entries)
            return Work(entries, confirmed, bool(self._pending))

    def take_back(self, entries: Sequence[Entry], confirmed: Sequence[int], *, failing: bool) -> None:
        """Writer: put back what was not committed, in front of everything else."""
        with self._changed:
            self._failing = failing
            self._committing = 0
            self._pending.extendleft(reversed(entries))
            self._bound_pending()
            self._confirmed[:0] = confirmed

    def committed(self, rows: Sequence[Row], *, committed: int, stored: int, oldest: int) -> bool:
        """Writer: `rows` are on disk; rows below `oldest` no longer are. True if `rows` can be sent from memory.

        They cannot if older rows must be read from disk first, or too many wait.
        """
        with self._changed:
            self._failing = False
            while self._ready and self._ready[0].delivery < oldest:
                self._ready.popleft()
            follows = self._loaded >= self._committed and len(self._ready) + len(rows) <= READY_MAX
            self._committed, self._stored = committed, stored
            if follows and rows:
                self._ready.extend(row for row in rows if row.delivery >= oldest)
                self._loaded = committed
            return follows and bool(rows)

    def refill_after(self) -> int:
        """Writer: the delivery after which to read from disk; -1 where there is enough in memory."""
        with self._changed:
            return self._loaded if self._wants_refill() else -1

    def refill(self, rows: Sequence[Row], *, after: int) -> None:
        """Writer: add rows that were read after delivery `after`, unless `rewind` was called meanwhile."""
        with self._changed:
            if self._loaded != after:
                return
            confirmed = set(self._confirmed)
            self._loaded = rows[-1].delivery if rows else self._committed
            self._ready.extend(row for row in rows if row.delivery not in confirmed)
