"""What waits for the network: messages in a bounded queue, retained states as latest-value slots."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edged.publish.counters import MessageTally


class TooLargeError(ValueError):
    """A message that does not fit the broker's or our own limit, whatever is left out of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """A message that is encoded only when it is sent: one that is dropped before costs nothing.

    Attributes:
        topic: where to.
        qos: 0 or 1.
        encode: from the most bytes that may be used to the payload; ValueError, TooLargeError.
    """

    topic: str
    qos: int
    encode: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class RetainedState:
    """What a topic shall hold at the broker; an empty payload removes it."""

    topic: str
    payload: bytes


class Mailbox:
    """Thread-safe hand-over from the callers to the network thread; nothing here blocks.

    Args:
        capacity: messages that may wait; more drop the oldest.
        tally: counts the drops: `offline`, `queue`, `closed`.
    """

    def __init__(self, *, capacity: int, tally: MessageTally) -> None:
        self._capacity = capacity
        self._tally = tally
        self._lock = threading.Lock()
        self._queue: deque[Outgoing] = deque()
        self._states: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}  # topics of `_states`, by their latest change
        self._closed = False

    def put(self, message: Outgoing) -> bool:
        """Take a message; without a broker QoS 0 is dropped at once. False where it was not taken."""
        with self._lock:
            if self._closed:
                self._tally.drop("closed")
                return False
            if message.qos == 0 and not self._tally.connected:
                self._tally.drop("offline")
                return False
            self._queue.append(message)
            if len(self._queue) > self._capacity:
                self._queue.popleft()
                self._tally.drop("queue")
            return True

    def set_state(self, state: RetainedState) -> None:
        """Keep `state` for this and every later connection; the latest of a topic wins."""
        with self._lock:
            if self._states.get(state.topic) == state.payload:
                return
            self._states[state.topic] = state.payload
            self._unsent.pop(state.topic, None)
            self._unsent[state.topic] = None

    def forget(self, removed: RetainedState) -> None:
        """The broker removed the topic: nothing is left to say, unless it was set again meanwhile."""
        with self._lock:
            if not self._states.get(removed.topic, b"-"):
                del self._states[removed.topic]
                self._unsent.pop(removed.topic, None)

    def states(self) -> dict[str, bytes]:
        """All states by topic."""
        with self._lock:
            return dict(self._states)

    def next_state(self) -> RetainedState | None:
        """The state that waits longest."""
        with self._lock:
            for topic in self._unsent:
                del self._unsent[topic]
                return RetainedState(topic, self._states[topic])
            return None

    def next_message(self) -> Outgoing | None:
        """The oldest message."""
        with self._lock:
            return self._queue.popleft() if self._queue else None

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._unsent or self._queue)

    def connected(self, first_topic: str) -> None:
        """A new connection: every state is to be said again, `first_topic` first."""
        with self._lock:
            self._tally.connected = True
            self._unsent = dict.fromkeys(sorted(self._states, key=lambda topic: topic != first_topic))

    def disconnected(self, unconfirmed: Iterable[Outgoing]) -> None:
        """The connection ended: QoS 0 is lost, `unconfirmed` QoS 1 messages come back to the front."""
        with self._lock:
            self._tally.connected = False
            waiting = deque(unconfirmed)
            waiting.extend(each for each in self._queue if each.qos)
            self._tally.drop("offline", sum(not each.qos for each in self._queue))
            surplus = max(0, len(waiting) - self._capacity)
            self._tally.drop("queue", surplus)
            for _ in range(surplus):
                waiting.popleft()
            self._queue = waiting

    def shut(self) -> None:
        """Take no more messages; states may still change."""
        with self._lock:
            self._closed = True

    def abandon(self) -> None:
        """Count what never left."""
        with self._lock:
            self._tally.drop("closed", len(self._queue))
            self._queue.clear()
