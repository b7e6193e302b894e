"""What waits for the network: messages in a bounded queue, and the latest payload of each retained topic."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edged.publish.counters import MessageTally


class TooLargeError(ValueError):
    """A message that exceeds the broker's or the configured limit even without its detections."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """A message that is encoded only when it is sent: one that is dropped earlier costs nothing.

    Attributes:
        topic: where to.
        qos: 0 or 1.
        encode: given the largest payload allowed, bytes, makes the payload; raises ValueError or TooLargeError.
        on_answered: called from the network's thread when the broker has confirmed or refused it; QoS 1 only.
    """

    topic: str
    qos: int
    encode: Callable[[int], bytes]
    on_answered: Callable[[], None] = _nothing


def ready_made(payload: bytes, most_bytes: int) -> bytes:
    """For `Outgoing.encode`: a payload that is encoded already.

    Raises:
        TooLargeError: it has more than `most_bytes`.
    """
    if len(payload) > most_bytes:
        raise TooLargeError(f"{len(payload)} bytes, at most {most_bytes} are allowed")
    return payload


@dataclass(frozen=True, slots=True)
class RetainedState:
    """The payload that the broker shall retain on a topic; an empty one removes the topic."""

    topic: str
    payload: bytes


class Mailbox:
    """Thread-safe queue from the callers to the network thread; nothing here blocks.

    Args:
        capacity: most messages that may wait; further ones drop the oldest.
        tally: counts the drops: `offline`, `queue`, `closed`.
    """

    def __init__(self, *, capacity: int, tally: MessageTally) -> None:
        self._capacity = capacity
        self._tally = tally
        self._lock = threading.Lock()
        self._queue: deque[Outgoing] = deque()
        self._states: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}  # topics of `_states`, in order of their latest change
        self._closed = False

    def put(self, message: Outgoing) -> bool:
        """Add a message. Returns False where it was dropped: after `shut`, or QoS 0 without a broker."""
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
        """Keep `state` for this and every later connection; replaces an older one of its topic."""
        with self._lock:
            if self._states.get(state.topic) == state.payload:
                return
            self._states[state.topic] = state.payload
            self._unsent.pop(state.topic, None)
            self._unsent[state.topic] = None

    def forget(self, removed: RetainedState) -> None:
        """The broker removed the topic: drop its state, unless it was set again meanwhile."""
        with self._lock:
            if not self._states.get(removed.topic, b"-"):
                del self._states[removed.topic]
                self._unsent.pop(removed.topic, None)

    def states(self) -> dict[str, bytes]:
        """All states by topic."""
        with self._lock:
            return dict(self._states)

    def next_state(self) -> RetainedState | None:
        """Take the state that has waited longest; None where none waits."""
        with self._lock:
            for topic in self._unsent:
                del self._unsent[topic]
                return RetainedState(topic, self._states[topic])
            return None

    def next_message(self) -> Outgoing | None:
        """Take the oldest message; None where none waits."""
        with self._lock:
            return self._queue.popleft() if self._queue else None

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._unsent or self._queue)

    def connected(self, first_topic: str) -> None:
        """A new connection: every state must be sent again, `first_topic` first."""
        with self._lock:
            self._tally.connected = True
            self._unsent = dict.fromkeys(sorted(self._states, key=lambda topic: topic != first_topic))

    def disconnected(self, unconfirmed: Iterable[Outgoing]) -> None:
        """The connection ended: waiting QoS 0 messages are lost, `unconfirmed` QoS 1 messages go back to the front."""
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
        """Drop all waiting messages and count them."""
        with self._lock:
            self._tally.drop("closed", len(self._queue))
            self._queue.clear()
