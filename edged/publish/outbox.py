"""Durable messages on their way: accepted in memory, committed to disk in groups, sent, removed when confirmed."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from edged.core.errors import ConfigError, EdgedError
from edged.publish.counters import Tally
from edged.publish.mailbox import TooLargeError
from edged.publish.options import OutboxOptions
from edged.publish.outbox_store import OutboxStore, Row, StoreCorruptError, StoreFailedError, quarantine

logger = logging.getLogger(__name__)

LOCK_FILE = "outbox.lock"
READY_MAX = 256
RETRY_S = 1.0
EXPIRE_EVERY_S = 60.0
_IDLE_S = 1.0

Encode = Callable[[int], bytes]


class Outbox:
    """Holds durable messages between the pipeline and the broker; its own thread owns the file.

    Args:
        options: where and how much.
        tally: counts drops: `outbox_queue`, `outbox_bytes`, `outbox_age`, `outbox_disk`, `invalid`, `too_large`.
        on_ready: called from the outbox's thread when there is something to `take`.

    Raises:
        ConfigError: the directory cannot be made or written.
        EdgedError: another process holds it.
    """

    def __init__(self, options: OutboxOptions, *, tally: Tally, on_ready: Callable[[], None]) -> None:
        self._options = options
        self._tally = tally
        self._on_ready = on_ready
        self._lock_descriptor = _lock(options.directory)
        self._changed = threading.Condition()
        self._pending: deque[tuple[str, Encode]] = deque()
        self._confirmed: list[int] = []
        self._ready: deque[Row] = deque()
        self._loaded = 0  # highest delivery that was put into _ready since the last rewind
        self._committed = 0  # highest delivery on disk
        self._stored = 0
        self._failing = False
        self._damaged_in_a_row = 0
        self._idle = False
        self._shut = False
        self._closing = False
        self._store: OutboxStore | None = None
        self._expire_at = 0.0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, topic: str, encode: Encode) -> None:
        """Accept a message; `encode` makes its payload from its delivery number, in the outbox's thread.

        A full queue drops its oldest.
        """
        with self._changed:
            if self._shut:
                self._tally.drop("closed")
                return
            self._pending.append((topic, encode))
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
        self._tally.drop("outbox_disk" if self._failing else "outbox_queue", max(0, surplus))

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._ready)

    @property
    def waiting(self) -> int:
        """Messages accepted and not confirmed."""
        with self._changed:
            return len(self._pending) + max(0, self._stored - len(self._confirmed))

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
        problem = ""
        closing = False
        while not closing:
            closing = self._await_work()
            try:
                self._work()
                problem = ""
                self._damaged_in_a_row = 0
            except StoreCorruptError as exc:
                self._start_over(exc)
                # Once more also at the end, so that what was accepted finds its way into the new file.
                closing = closing and self._damaged_in_a_row > 1
                continue
            except StoreFailedError as exc:
                logger.log(logging.DEBUG if str(exc) == problem else logging.ERROR, "%s; retrying", exc)
                problem = self._tally.last_error = str(exc)
            self._failing = bool(problem)
            if not closing:
                self._pause(RETRY_S if problem else self._options.commit_interval_s)
        if self._store is not None:
            self._store.close()

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
                if not self._failing and self._refillable():
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
        if not self._commit(store):
            store.tidy()
        self._expire(store)
        self._refill(store)

    def _commit(self, store: OutboxStore) -> bool:
        with self._changed:
            batch, self._pending = self._pending, deque()
            confirmed, self._confirmed = self._confirmed, []
        if not (batch or confirmed):
            return False
        rows = list(self._encoded(batch, store.next_delivery))
        try:
            dropped = store.commit(rows, confirmed, max_bytes=self._options.max_bytes)
        except EdgedError:
            self._take_back(batch, confirmed)
            raise
        for cause, count in dropped.items():
            self._tally.drop(cause, count)
        self._committed_rows(store, rows)
        return True

    def _encoded(self, batch: deque[tuple[str, Encode]], first: int) -> Iterator[Row]:
        """Rows numbered without gaps; a message that cannot be encoded is dropped from `batch` too."""
        delivery = first
        for _ in range(len(batch)):
            topic, encode = batch.popleft()
            try:
                row = Row(delivery, topic, encode(delivery))
            except ValueError as exc:
                cause = "too_large" if isinstance(exc, TooLargeError) else "invalid"
                self._tally.drop(cause)
                logger.warning("message for %s dropped (%s): %s", topic, cause, exc)
                continue
            batch.append((topic, encode))
            delivery += 1
            yield row

    def _take_back(self, batch: deque[tuple[str, Encode]], confirmed: list[int]) -> None:
        with self._changed:
            self._failing = True
            self._pending.extendleft(reversed(batch))
            self._bound_pending()
            self._confirmed[:0] = confirmed

    def _committed_rows(self, store: OutboxStore, rows: list[Row]) -> None:
        with self._changed:
            follows = self._loaded >= self._committed and len(self._ready) + len(rows) <= READY_MAX
            self._committed, self._stored = store.next_delivery - 1, store.count
            if follows and rows:
                self._ready.extend(rows)
                self._loaded = self._committed
        if follows and rows:
            self._on_ready()

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
        self._tally.drop("outbox_age", store.expire(self._options.max_age_s))
        with self._changed:
            self._stored = store.count

    def _start_over(self, exc: StoreCorruptError) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        self._damaged_in_a_row += 1
        if self._damaged_in_a_row > 1:
            self._pause(RETRY_S)
        try:
            aside = quarantine(self._options.directory)
        except OSError as failure:
            logger.error("%s, and it cannot be put aside: %s", exc, failure)  # noqa: TRY400 - said, not traced
            return
        self._tally.add("quarantined")
        self._tally.last_error = str(exc)
        logger.error("%s; put aside as %s, starting empty: what waited in it is lost", exc, aside)
        self.rewind()


def _lock(directory: Path) -> int:
    """Take the outbox for this process; the descriptor holds the lock."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigError(
            f"outbox directory {directory} cannot be used: {exc.strerror}", remedy="make it writable for this user"
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise EdgedError(
            f"outbox {directory} is in use by process {holder or 'unknown'}", remedy="stop it, or use another directory"
        ) from exc
    with contextlib.suppress(OSError):  # a full disk must not keep the daemon from starting
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
    return descriptor
