"""The outbox in memory: what waits for the disk, what is on disk and waits for the network, what is confirmed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edged.publish.counters import MessageTally
from edged.publish.outbox_store import Row

READY_MAX = 256
REFILL_BELOW = READY_MAX // 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that waits for the disk.

    Attributes:
        topic: where to.
        encode: makes its payload from its delivery number.
        lost_before: messages between the one before and it that were dropped; each leaves out a delivery number.
    """

    topic: str
    encode: Callable[[int], bytes]
    lost_before: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What the next commit shall do.

    Attributes:
        entries: to be added, in order.
        confirmed: deliveries to be removed.
        more: whether entries were left behind.
    """

    entries: list[Entry]
    confirmed: list[int]
    more: bool


class OutboxBuffer:
    """Thread-safe; callers put, take and acknowledge, the outbox's one writer moves things to and from the disk.

    Args:
        capacity: entries that may wait for the disk; more drop the oldest.
        tally: counts `outbox_queue`, and `outbox_disk` while the disk refuses.
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
        # During the pause between two commits nothing is gained by a context switch a message.
        if self._idle:
            self._changed.notify()

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._ready)

    @property
    def waiting(self) -> int:
        """Messages accepted and not confirmed."""
        with self._changed:
            return len(self._pending) + self._committing + max(0, self._stored - len(self._confirmed))

    def take(self) -> Row | None:
        """The next committed message to send, in order of delivery."""
        with self._changed:
            if not self._ready:
                return None
            row = self._ready.popleft()
            if self._wants_refill():
                self._changed.notify()
            return row

    def acknowledge(self, delivery: int) -> None:
        """The broker has it: it may leave the disk."""
        with self._changed:
            self._confirmed.append(delivery)
            self._notify_idle()

    def rewind(self) -> None:
        """Offer everything again that was not acknowledged, from the oldest."""
        with self._changed:
            self._ready.clear()
            self._loaded = 0
            self._changed.notify()

    def shut(self) -> None:
        """Accept no more."""
        with self._changed:
            self._shut = True

    def close(self) -> bool:
        """Accept no more and let the writer finish; False where that was said before."""
        with self._changed:
            first, self._shut, self._closing = not self._closing, True, True
            self._changed.notify()
            return first

    def abandon(self) -> None:
        """Count what never reached the disk."""
        with self._changed:
            self._tally.drop("outbox_disk", len(self._pending))
            self._pending.clear()

    def await_work(self, timeout_s: float) -> bool:
        """Writer: wait until there is something to do; True where it is the last time."""
        with self._changed:
            if not (self._closing or self._pending or self._confirmed or self._wants_refill()):
                self._idle = True
                self._changed.wait(timeout_s)
                self._idle = False
            return self._closing

    def pause(self, seconds: float) -> None:
        """Writer: let more arrive for the next commit; ends early where the network has nothing left to send."""
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
        """Writer: what to commit; comes back through `take_back` where that fails."""
        with self._changed:
            entries = [self._pending.popleft() for _ in range(min(len(self._pending), most_entries))]
            confirmed, self._confirmed = self._confirmed, []
            self._committing = len(entries)
            return Work(entries, confirmed, bool(self._pending))

    def take_back(self, entries: Sequence[Entry], confirmed: Sequence[int], *, failing: bool) -> None:
        """Writer: what was not committed waits again, before everything else."""
        with self._changed:
            self._failing = failing
            self._committing = 0
            self._pending.extendleft(reversed(entries))
            self._bound_pending()
            self._confirmed[:0] = confirmed

    def committed(self, rows: Sequence[Row], *, committed: int, stored: int, oldest: int) -> bool:
        """Writer: `rows` are on disk, what is older than `oldest` no longer is. True where there is more to send.

        Rows go to the network from memory, unless older ones have to be read from disk first.
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
        """Writer: the delivery behind which to read from disk; -1 where there is enough in memory."""
        with self._changed:
            return self._loaded if self._wants_refill() else -1

    def refill(self, rows: Sequence[Row], *, after: int) -> None:
        """Writer: offer rows that were read behind `after`, unless that was rewound meanwhile."""
        with self._changed:
            if self._loaded != after:
                return
            confirmed = set(self._confirmed)
            self._loaded = rows[-1].delivery if rows else self._committed
            self._ready.extend(row for row in rows if row.delivery not in confirmed)
