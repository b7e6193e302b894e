"""The outbox of durable messages: accepted in memory, committed to disk in groups, removed once confirmed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edged.publish.counters import MessageTally
from edged.publish.mailbox import TooLargeError
from edged.publish.options import OutboxOptions
from edged.publish.outbox_buffer import READY_MAX, Entry, OutboxBuffer
from edged.publish.outbox_file import StoreCorruptError, StoreFailedError, quarantine
from edged.publish.outbox_journal import NO_MARK, Journal, Mark
from edged.publish.outbox_lock import hold
from edged.publish.outbox_store import OutboxStore, Row

logger = logging.getLogger(__name__)

GROUP_ROWS = 256  # most rows in one commit; fewer while the disk is nearly full
FAST_RETRIES = 8  # enough to halve a group down to one row
RETRY_S = 1.0
EXPIRE_EVERY_S = 60.0
LOG_EVERY_S = 60.0
_IDLE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one commit, the entries that they were made from, and entries left for the next."""

    rows: list[Row]
    entries: list[Entry]
    rest: list[Entry]
    following: int  # number of the next row; numbers of dropped messages are skipped


class Outbox:
    """Holds durable messages between the pipeline and the broker; its own thread owns the file.

    Args:
        options: directory and limits.
        tally: counts drops: `outbox_queue`, `outbox_bytes`, `outbox_age`, `outbox_disk`, `invalid`, `too_large`.

    Raises:
        ConfigError: the directory cannot be made or written.
        EdgedError: another process holds it.
    """

    def __init__(self, options: OutboxOptions, *, tally: MessageTally) -> None:
        self._options = options
        self._tally = tally
        self._on_ready: Callable[[], None] = lambda: None
        self._on_open: Callable[[Journal], None] = lambda _: None
        self._lock_descriptor = hold(options.directory)
        self._buffer = OutboxBuffer(capacity=options.queue_messages, tally=tally)
        self._store: OutboxStore | None = None
        self._failures = 0  # in a row
        self._group_rows = GROUP_ROWS
        self._lost_before = 0  # numbers to skip before the next row; kept when a commit without rows has failed
        self._quiet_until = 0.0
        self._expire_at = 0.0
        self._oldest_s = 0.0  # when the oldest message on disk was accepted, CLOCK_MONOTONIC
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self, *, on_ready: Callable[[], None], on_open: Callable[[Journal], None] = lambda _: None) -> None:
        """Start the outbox's thread, which opens the file.

        Args:
            on_ready: called from that thread when there is something to `take`.
            on_open: called from that thread with what the file keeps, each time it was opened.
        """
        self._on_ready, self._on_open = on_ready, on_open
        self._thread.start()

    def put(self, topic: str, encode: Callable[[int], bytes], mark: Mark = NO_MARK) -> None:
        """Accept a message; a full queue drops its oldest.

        Args:
            topic: where to.
            encode: makes the payload from the delivery number, in the outbox's thread; raises ValueError.
            mark: what the message changes in the journal when it reaches the disk.
        """
        self._buffer.put(Entry(topic, encode, mark))

    @property
    def ready(self) -> bool:
        """Whether `take` would return a message."""
        return self._buffer.ready

    @property
    def waiting(self) -> int:
        """Number of messages that were accepted and not confirmed."""
        return self._buffer.waiting

    @property
    def oldest_s(self) -> float:
        """For how long the oldest message has waited for its confirmation, seconds; 0 where none waits."""
        return time.monotonic() - self._oldest_s if self.waiting and self._oldest_s else 0.0

    def take(self) -> Row | None:
        """Take the next committed message to send, in order of delivery; None where there is none."""
        return self._buffer.take()

    def acknowledge(self, delivery: int) -> None:
        """The broker confirmed a message: it may be removed from disk."""
        self._buffer.acknowledge(delivery)

    def rewind(self) -> None:
        """Start again from the oldest message that was not acknowledged."""
        self._buffer.rewind()

    def shut(self) -> None:
        """Accept no more."""
        self._buffer.shut()

    def close(self, timeout_s: float) -> None:
        """Write accepted messages to disk and release the file; takes at most `timeout_s`, safe to call twice."""
        if not self._buffer.close():
            return
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.warning("outbox %s: the disk did not answer in time", self._options.directory)
            return
        self._buffer.abandon()
        os.close(self._lock_descriptor)

    def _run(self) -> None:
        while True:
            closing = self._buffer.await_work(_IDLE_S if self._store is not None else 0)
            self._round()
            if closing and (not self._failures or self._failures > FAST_RETRIES):
                break
            self._buffer.pause(RETRY_S if self._failures > FAST_RETRIES else self._options.commit_interval_s)
        if self._store is not None:
            self._store.close()

    def _round(self) -> None:
        """Do the pending work once; after a failure nothing is lost, and the next round tries again."""
        try:
            self._work()
        except StoreCorruptError as exc:
            self._failures += 1
            self._start_over(exc)
        except StoreFailedError as exc:
            self._failures += 1
            # The free disk space may be too small for this group, but enough for a smaller one.
            self._group_rows = max(1, self._group_rows // 2)
            self._buffer.take_back([], [], failing=True)
            self._report(str(exc))
        except Exception as exc:
            # A defect must not end the thread: durable messages would stop silently.
            self._failures += 1
            logger.exception("outbox %s: unexpected failure", self._options.directory)
            self._report(f"unexpected failure: {exc}")
        else:
            self._failures = 0

    def _report(self, problem: str) -> None:
        """Log a failure once a minute, however often it is retried."""
        now = time.monotonic()
        level = logging.DEBUG if now < self._quiet_until else logging.ERROR
        if level == logging.ERROR:
            self._quiet_until = now + LOG_EVERY_S
        self._tally.last_error = problem
        logger.log(level, "%s; retrying", problem)

    def _start_over(self, exc: StoreCorruptError) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        try:
            aside = quarantine(self._options.directory)
        except OSError as failure:
            self._report(f"{exc}, and it cannot be put aside: {failure.strerror}")
            return
        self._tally.add("quarantined")
        self._tally.last_error = str(exc)
        logger.error("%s; put aside as %s, starting empty: what waited in it is lost", exc, aside)

    def _work(self) -> None:
        store = self._open()
        more = True
        while more:
            self._expire(store)
            more = self._commit(store)
            self._refill(store)
        self._oldest_s = time.monotonic() - store.oldest_s()
        store.tidy()

    def _open(self) -> OutboxStore:
        if self._store is None:
            self._store = OutboxStore(self._options.directory)
            self._buffer.opened(committed=self._store.next_delivery - 1, stored=self._store.count)
            if self._store.count:
                logger.info("outbox: %d messages wait from before", self._store.count)
            self._on_open(self._store.journal)
        return self._store

    def _commit(self, store: OutboxStore) -> bool:
        """Commit one transaction; True where more entries wait."""
        work = self._buffer.next_work(self._group_rows)
        if not (work.entries or work.confirmed):
            return False
        group = _Group([], [], work.entries, store.next_delivery)
        try:
            group = self._encoded(work.entries, store)
            dropped = store.commit(
                group.rows, work.confirmed, following=group.following, max_bytes=self._options.max_bytes
            )
        except BaseException:
            self._buffer.take_back(group.entries + group.rest, work.confirmed, failing=True)
            raise
        self._lost_before = 0
        self._buffer.take_back(group.rest, [], failing=False)
        self._offer(store, group.rows, dropped)
        if group.rows:
            # After every commit, not every round: on a slow disk a round of small groups would never end.
            self._group_rows = min(GROUP_ROWS, 2 * self._group_rows)
        return work.more or bool(group.rest)

    def _encoded(self, entries: list[Entry], store: OutboxStore) -> _Group:
        """Number and encode as many of `entries` as one commit may hold; those that cannot be encoded are dropped."""
        rows: list[Row] = []
        kept: list[Entry] = []
        room = store.group_bytes
        number = store.next_delivery
        for index, entry in enumerate(entries):
            if room <= 0:
                return _Group(rows, kept, entries[index:], number + self._lost_before)
            lost_before = self._lost_before + entry.lost_before
            delivery = number + lost_before
            try:
                row = Row(delivery, entry.topic, entry.encode(delivery), entry.mark)
            except Exception as exc:  # noqa: BLE001 - one bad message must not hold up the rest
                self._drop(entry, exc)
                self._lost_before = lost_before + 1
                continue
            self._lost_before = 0
            room -= len(row.payload)
            number = delivery + 1
            rows.append(row)
            kept.append(replace(entry, lost_before=lost_before))
        return _Group(rows, kept, [], number + self._lost_before)

    def _drop(self, entry: Entry, exc: Exception) -> None:
        cause = "too_large" if isinstance(exc, TooLargeError) else "invalid"
        self._tally.drop_one(cause, entry.topic, exc)

    def _offer(self, store: OutboxStore, rows: list[Row], dropped: dict[str, int]) -> None:
        """Tell the buffer what is on disk now; rows dropped there are counted and not sent from memory."""
        for cause, count in dropped.items():
            self._tally.drop(cause, count)
        written = store.next_delivery - 1
        if self._buffer.committed(rows, committed=written, stored=store.count, oldest=store.dropped_below):
            self._on_ready()

    def _refill(self, store: OutboxStore) -> None:
        after = self._buffer.refill_after()
        if after >= 0:
            self._buffer.refill(store.read(after=after, limit=READY_MAX), after=after)
            self._on_ready()

    def _expire(self, store: OutboxStore) -> None:
        now = time.monotonic()
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY_S
            while expired := store.expire(self._options.max_age_s):
                self._offer(store, [], {"outbox_age": expired})
