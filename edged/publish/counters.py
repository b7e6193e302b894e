"""Counts what became of the messages; any thread may read."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Why messages are lost.
CAUSES = (
    *("offline", "queue", "outbox_queue", "outbox_bytes", "outbox_age", "outbox_disk"),
    *("invalid", "too_large", "refused", "closed"),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishCounters:
    """Counters since the start of the publisher.

    Attributes:
        published: handed to the network; a QoS 0 message may still be lost with its connection.
        acknowledged: confirmed by the broker (QoS 1).
        dropped: lost, by cause: `offline` (no broker, QoS 0), `queue` (network too slow), `outbox_queue` (disk
            too slow), `outbox_bytes` and `outbox_age` (limits), `outbox_disk` (disk full), `invalid`, `too_large`,
            `refused` (by the broker), `closed` (after close).
        truncated: sent without their least confident detections because they were too large.
        skipped: frames without detections, where those are not published.
        quarantined: damaged outbox files put aside; the messages in them are lost.
        connects: accepted connections.
        connected: whether there is a connection now.
        waiting: durable messages that the broker has not confirmed yet.
        oldest_s: for how long the oldest of them has waited, seconds.
        last_error: of the connection or the outbox; empty where there was none.
    """

    published: int
    acknowledged: int
    dropped: Mapping[str, int]
    truncated: int
    skipped: int
    quarantined: int
    connects: int
    connected: bool
    waiting: int
    oldest_s: float
    last_error: str


class MessageTally:
    """Thread-safe counters behind PublishCounters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self.connected = False
        self.last_error = ""

    def add(self, what: str, count: int = 1) -> None:
        """Count anything but a drop, by the name of its field in PublishCounters."""
        with self._lock:
            self._counts[what] += count

    def drop(self, cause: str, count: int = 1) -> None:
        """Count lost messages."""
        if count:
            with self._lock:
                self._dropped[cause] += count

    def drop_one(self, cause: str, topic: str, why: object) -> None:
        """Count a lost message and log it; the log shows repeats once a minute only."""
        self.drop(cause)
        logger.warning("message for %s dropped (%s): %s", topic, cause, str(why))

    def dropped(self) -> int:
        """Lost messages of all causes."""
        with self._lock:
            return self._dropped.total()

    def snapshot(self, *, waiting: int, oldest_s: float = 0.0) -> PublishCounters:
        """All counters at one moment."""
        with self._lock:
            counts = self._counts
            return PublishCounters(
                published=counts["published"],
                acknowledged=counts["acknowledged"],
                dropped=MappingProxyType(dict(self._dropped)),
                truncated=counts["truncated"],
                skipped=counts["skipped"],
                quarantined=counts["quarantined"],
                connects=counts["connects"],
                connected=self.connected,
                waiting=waiting,
                oldest_s=oldest_s,
                last_error=self.last_error,
            )
