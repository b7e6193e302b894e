"""Durable messages on their way: accepted in memory, committed to disk in groups, sent, removed when confirmed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edged.publish.counters import Tally
from edged.publish.mailbox import TooLargeError
from edged.publish.options import OutboxOptions
from edged.publish.outbox_lock import hold
from edged.publish.outbox_store import OutboxStore, Row, StoreCorruptError, StoreFailedError, quarantine

logger = logging.getLogger(__name__)

READY_MAX = 256
GROUP_ROWS = 256  # in one transaction, fewer while the disk has no room for so many
FAST_RETRIES = 8  # enough to halve a group down to one row
LOG_EVERY_S = 60.0
RETRY_S = 1.0
EXPIRE_EVERY_S = 60.0
_IDLE_S = 1.0

Encode = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A message that waits for the disk."""

    topic: str
    encode: Encode


@dataclass(frozen=True, slots=True)
class _Group:
    """What goes into one commit, what it came from, and what has to wait for the next."""

    rows: list[Row]
    entries: list[_Entry]
    rest: list[_Entry]


class Outbox:
    """Holds durable messages between the pipeline and the broker; its own thread owns the file.

    Args:
        options: where and how much.
        tally: counts drops: `outbox_queue`, `outbox_bytes`, `outbox_age`, `outbox_disk`, `invalid`, `too_large`.

    Raises:
        ConfigError: the directory cannot be made or written.
        EdgedError: another process holds it.
    """

    def __init__(self, options: OutboxOptions, *, tally: Tally) -> None:
        self._options = options
        self._tally = tally
        self._on_ready: Callable[[], None] = lambda: None
        self._lock_descriptor = hold(options.directory)
        self._changed = threading.Condition()
        self._pending: deque[_Entry] = deque()
        self._confirmed: list[int] = []
        self._ready: deque[Row] = deque()
        self._loaded = 0  # highest delivery that was put into _ready since the last rewind
        self._committed = 0  # highest delivery on disk
        self._stored = 0
        self._committing = 0
        self._failures = 0  # in a row
        self._group_rows = GROUP_ROWS
        self._quiet_until = 0.0
        self._idle = False
        self._shut = False
        self._closing = False
        self._store: OutboxStore | None = None
        self._expire_at = 0.0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self, *, on_ready: Callable[[], None]) -> None:
        """Open the file, in the outbox's thread, and begin.

        Args:
            on_ready: called from that thread when there is something to `take`.
        """
        self._on_ready = on_ready
        self._thread.start()

    def put(self, topic: str, encode: Encode) -> None:
        """Accept a message; `encode` makes its payload from its delivery number, in the outbox's thread.

        A full queue drops its oldest.
        """
        with self._changed:
            if self._shut:
                self._tally.drop("closed")
                return
            self._pending.append(_Entry(topic, encode))
            self._bound_pending()
            self._notify_idle()

    def _notify_idle(self) -> None:
        # During the pause between two commits nothing is gained by a context switch a message.
        if self._idle:
            self._changed.notify()

    def _bound_pending(self) -> None:
        surplus = len(self._pending) - self._options.queue_messages
        for _ in range(surplus):
            self._pending.popleft()
        self._tally.drop("outbox_disk" if self._failures else "outbox_queue", max(0, surplus))

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
            if len(self._ready) < READY_MAX // 4 and self._loaded < self._committed:
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
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Put what was accepted on disk and let go of the file; at most `timeout_s`, safe to call twice."""
        with self._changed:
            if self._closing:
                return
            self._shut = self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.warning("outbox %s: the disk did not answer in time", self._options.directory)
            return
        with self._changed:
            self._tally.drop("outbox_disk", len(self._pending))
            self._pending.clear()
        os.close(self._lock_descriptor)

    def _run(self) -> None:
        while True:
            closing = self._await_work()
            self._round()
            if closing and (not self._failures or self._failures > FAST_RETRIES):
                break
            self._pause(RETRY_S if self._failures > FAST_RETRIES else self._options.commit_interval_s)
        if self._store is not None:
            self._store.close()

    def _round(self) -> None:
        """Do what there is to do; after a failure everything is still there to be tried again."""
        try:
            self._work()
        except StoreCorruptError as exc:
            self._failures += 1
            self._start_over(exc)
        except StoreFailedError as exc:
            self._failures += 1
            # A group may be too large for what is left of the disk where a smaller one is not.
            self._group_rows = max(1, self._group_rows // 2)
            self._report(str(exc))
        except Exception as exc:
            # A defect must cost a round, never the thread: durable messages would stop without a word.
            self._failures += 1
            logger.exception("outbox %s: unexpected failure", self._options.directory)
            self._report(f"unexpected failure: {exc}")
        else:
            self._failures = 0
            self._group_rows = min(GROUP_ROWS, self._group_rows + 1)

    def _report(self, problem: str) -> None:
        """Log a failure once a minute, however often it is retried."""
        now = time.monotonic()
        level = logging.DEBUG if now < self._quiet_until else logging.ERROR
        if level == logging.ERROR:
            self._quiet_until = now + LOG_EVERY_S
        self._tally.last_error = problem
        logger.log(level, "%s; retrying", problem)

    def _await_work(self) -> bool:
        """Wait until there is something to do; True where it is the last time."""
        with self._changed:
            if not self._has_work():
                self._idle = True
                self._changed.wait(_IDLE_S)
                self._idle = False
            return self._closing

    def _has_work(self) -> bool:
        refill = self._loaded < self._committed and len(self._ready) < READY_MAX // 4
        return bool(self._closing or self._store is None or self._pending or self._confirmed or refill)

    def _pause(self, seconds: float) -> None:
        """Between two commits: what arrives meanwhile shares the next one."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._closing and (left_s := until - time.monotonic()) > 0:
                if not self._failures and self._refillable():
                    return
                self._changed.wait(left_s)

    def _refillable(self) -> bool:
        return not self._ready and self._loaded < self._committed

    def _work(self) -> None:
        if self._store is None:
            self._store = store = OutboxStore(self._options.directory)
            with self._changed:
                self._committed, self._stored = store.next_delivery - 1, store.count
            if store.count:
                logger.info("outbox: %d messages wait from before", store.count)
        store = self._store
        self._expire(store)
        busy = self._commit(store)
        self._refill(store)
        while busy and self._pending:
            busy = self._commit(store)
            self._refill(store)
        if not busy:
            store.tidy()

    def _commit(self, store: OutboxStore) -> bool:
        with self._changed:
            batch = [self._pending.popleft() for _ in range(min(len(self._pending), self._group_rows))]
            confirmed, self._confirmed = self._confirmed, []
            self._committing = len(batch)
        if not (batch or confirmed):
            return False
        group = self._encoded(batch, store)
        try:
            dropped = store.commit(group.rows, confirmed, max_bytes=self._options.max_bytes)
        except BaseException:
            self._take_back(group.entries + group.rest, confirmed)
            raise
        self._take_back(group.rest, [])
        if dropped:
            self._withdraw(store, dropped)
        self._offer(store, group.rows)
        return True

    def _encoded(self, batch: list[_Entry], store: OutboxStore) -> _Group:
        """As many of `batch` as one commit may hold, numbered without gaps; what cannot be encoded is dropped."""
        rows: list[Row] = []
        entries: list[_Entry] = []
        room = store.group_bytes
        for index, entry in enumerate(batch):
            if room <= 0:
                return _Group(rows, entries, batch[index:])
            try:
                row = Row(store.next_delivery + len(rows), entry.topic, entry.encode(store.next_delivery + len(rows)))
            except Exception as exc:  # noqa: BLE001 - whatever is wrong with one message must not hold up the rest
                cause = "too_large" if isinstance(exc, TooLargeError) else "invalid"
                self._tally.drop(cause)
                logger.warning("message for %s dropped (%s): %s", entry.topic, cause, exc)
                continue
            room -= len(row.payload)
            rows.append(row)
            entries.append(entry)
        return _Group(rows, entries, [])

    def _take_back(self, entries: list[_Entry], confirmed: list[int]) -> None:
        with self._changed:
            self._committing = 0
            self._pending.extendleft(reversed(entries))
            self._bound_pending()
            self._confirmed[:0] = confirmed

    def _offer(self, store: OutboxStore, rows: list[Row]) -> None:
        """What was just committed goes to the network from memory, unless older rows have to be read first."""
        with self._changed:
            follows = self._loaded >= self._committed and len(self._ready) + len(rows) <= READY_MAX
            self._committed, self._stored = store.next_delivery - 1, store.count
            if follows and rows:
                self._ready.extend(rows)
                self._loaded = self._committed
        if follows and rows:
            self._on_ready()

    def _withdraw(self, store: OutboxStore, dropped: Mapping[str, int]) -> None:
        """Count what was dropped from the disk, and do not send it from memory either."""
        for cause, count in dropped.items():
            self._tally.drop(cause, count)
        oldest = store.oldest()
        with self._changed:
            while self._ready and self._ready[0].delivery < oldest:
                self._ready.popleft()

    def _refill(self, store: OutboxStore) -> None:
        with self._changed:
            after = self._loaded
            if after >= self._committed or len(self._ready) >= READY_MAX // 4:
                return
            confirmed = set(self._confirmed)
        rows = store.read(after=after, limit=READY_MAX)
        with self._changed:
            if self._loaded != after:  # rewound meanwhile: the next round reads again
                return
            self._loaded = rows[-1].delivery if rows else self._committed
            self._ready.extend(row for row in rows if row.delivery not in confirmed)
        self._on_ready()

    def _expire(self, store: OutboxStore) -> None:
        now = time.monotonic()
        if now < self._expire_at:
            return
        self._expire_at = now + EXPIRE_EVERY_S
        expired = store.expire(self._options.max_age_s)
        if expired:
            self._withdraw(store, {"outbox_age": expired})
        with self._changed:
            self._stored = store.count

    def _start_over(self, exc: StoreCorruptError) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        try:
            aside = quarantine(self._options.directory)
        except OSError as failure:
            logger.error("%s, and it cannot be put aside: %s", exc, failure)  # noqa: TRY400 - said, not traced
            return
        self._tally.add("quarantined")
        self._tally.last_error = str(exc)
        logger.error("%s; put aside as %s, starting empty: what waited in it is lost", exc, aside)
        self.rewind()
