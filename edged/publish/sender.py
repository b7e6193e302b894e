"""Decides what is sent next (states, then messages, then durable ones) and handles the broker's confirmations."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from edged.publish.connection import Connection
from edged.publish.counters import MessageTally
from edged.publish.faults import FAILED, HOPELESS
from edged.publish.hangups import SizeGuard, packet_bytes
from edged.publish.mailbox import Mailbox, Outgoing, RetainedState, TooLargeError
from edged.publish.options import MqttOptions
from edged.publish.outbox import Outbox

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Durable:
    delivery: int


# What was sent with a packet id that the broker has not confirmed yet.
_InFlight: TypeAlias = RetainedState | Outgoing | _Durable


@dataclass(frozen=True, slots=True)
class _Held:
    """A durable message that may be too large for the broker: held back, neither sent nor dropped."""

    delivery: int
    topic: str
    size: int


class Sender:
    """Sends from mailbox and outbox over the present connection; used by one thread at a time.

    Args:
        options: limits and the wait after a refusal.
        mailbox: states and messages.
        outbox: durable messages; None where there are none.
        tally: counts everything.
        route: gives the topic on which a message is sent, from its own.
    """

    def __init__(
        self,
        options: MqttOptions,
        *,
        mailbox: Mailbox,
        outbox: Outbox | None,
        tally: MessageTally,
        route: Callable[[str], str] = str,
    ) -> None:
        self._options = options
        self.route = route
        self._mailbox = mailbox
        self._outbox = outbox
        self._tally = tally
        self._in_flight: dict[int, tuple[_InFlight, int]] = {}  # with the packet's size, bytes; in order of sending
        self._paused_until = 0.0
        self._states_guard = SizeGuard()
        self._guard = SizeGuard()  # for messages: a broker may accept states but forbid these
        self._held: list[_Held] = []
        self._state_held = False
        self._suspect_until = 0.0
        self._wary = 0  # messages to send one at a time, to find the one on which the broker hangs up
        self._first_topic = ""
        self._logged = ""
        self.refusal = ""  # of a message on this connection, in words

    @property
    def waiting(self) -> bool:
        """Whether `feed` has something to send."""
        durable = self._outbox is not None and self._outbox.ready and not self._paused_until
        return self._mailbox.waiting or durable

    @property
    def owed(self) -> bool:
        """Whether a state or message is unsent or unconfirmed; durable ones, on disk, do not count."""
        unconfirmed = any(not isinstance(each, _Durable) for each, _ in self._in_flight.values())
        return unconfirmed or self._mailbox.waiting

    def hold_durable(self) -> None:
        """Send no more durable messages: they wait on disk for the next start."""
        self._paused_until = float("inf")

    def connected(self, first_topic: str) -> None:
        """A new connection: send every state again, `first_topic` first."""
        self.refusal = ""
        self._first_topic = first_topic
        self._suspect_until = time.monotonic() + self._options.refused_retry_s
        self._mailbox.connected(first_topic)

    def hung_up(self) -> None:
        """The broker closed the connection without a known reason; call it before `disconnected`."""
        self._wary = len(self._in_flight)
        for record, size in self._in_flight.values():
            self._guard_of(record).hung_up(record, size)
            return

    def _window(self, connection: Connection) -> int:
        wary = self._wary or self._guard.suspicious or self._states_guard.suspicious
        return 1 if wary else connection.limits.inflight

    def _guard_of(self, record: _InFlight) -> SizeGuard:
        return self._states_guard if isinstance(record, RetainedState) else self._guard

    def disconnected(self) -> None:
        """The connection ended: put back what the broker did not confirm; QoS 0 messages are lost."""
        self._mailbox.disconnected([each for each, _ in self._in_flight.values() if isinstance(each, Outgoing)])
        self._in_flight.clear()
        self._paused_until = 0.0
        self._rewind()

    def _rewind(self) -> None:
        self._held.clear()
        if self._outbox is not None:
            self._outbox.rewind()

    def feed(self, connection: Connection) -> bool:
        """Send what waits: states, then messages, then durable ones. True if more must wait for the broker."""
        self._acquit()
        while not connection.lost:
            if connection.congested or len(self._in_flight) >= self._window(connection):
                return True
            if not (self._send_state(connection) or self._send_message(connection) or self._send_durable(connection)):
                return False
        return True

    def _send_state(self, connection: Connection) -> bool:
        state = self._mailbox.next_state()
        if state is None:
            return False
        topic = self.route(state.topic)
        size, most = packet_bytes(topic, state.payload), connection.limits.packet_bytes
        if size > most:
            self._drop("too_large", state.topic, TooLargeError(f"{size} bytes, the broker takes {most}"))
        elif not self._states_guard.refuses(size):
            self._hand_over(connection, topic, state.payload, state)
        elif self._states_guard.sure:
            self._drop("too_large", state.topic, TooLargeError(f"the broker hung up on {size} bytes"))
        else:
            self._state_held = True
        return True

    def _acquit(self) -> None:
        """Drop suspicions that no smaller message has confirmed in time, and send again what was held back."""
        if time.monotonic() > self._suspect_until:
            for guard in (self._guard, self._states_guard):
                if guard.suspicious:
                    guard.forget()
        if self._held and not self._guard.refused_bytes:
            self._rewind()
        if self._state_held and not self._states_guard.refused_bytes:
            self._state_held = False
            self._mailbox.connected(self._first_topic)

    def _send_message(self, connection: Connection) -> bool:
        message = self._mailbox.next_message()
        if message is None:
            return False
        self._send_one(connection, message)
        return True

    def send_at_once(self, connection: Connection, message: Outgoing) -> bool:
        """Send `message` (QoS 0) if nothing waits before it and the socket is free; else return False."""
        if connection.lost or connection.congested or self._mailbox.waiting:
            return False
        self._send_one(connection, message)
        return True

    def _send_one(self, connection: Connection, message: Outgoing) -> None:
        topic = self.route(message.topic)
        try:
            most = min(self._options.max_payload_bytes, connection.limits.packet_bytes - packet_bytes(topic, b""))
            payload = message.encode(most)
            if message.qos and self._guard.refuses(packet_bytes(topic, payload)):
                payload = message.encode(self._guard.largest_passed - packet_bytes(topic, b""))
        except Exception as exc:  # noqa: BLE001 - one bad message must not hold up the rest
            self._drop("too_large" if isinstance(exc, TooLargeError) else "invalid", message.topic, exc)
        else:
            self._hand_over(connection, topic, payload, message if message.qos else None)

    def _send_durable(self, connection: Connection) -> bool:
        if self._outbox is None or self._paused():
            return False
        row = self._outbox.take()
        if row is None:
            return False
        topic = self.route(row.topic)
        size, most = packet_bytes(topic, row.payload), connection.limits.packet_bytes
        if size > most:
            self._drop("too_large", row.topic, TooLargeError(f"{size} bytes, the broker takes {most}"))
            self._outbox.acknowledge(row.delivery)
        elif self._guard.refuses(size):
            self._held.append(_Held(row.delivery, row.topic, size))
            self._give_up_held()
        else:
            self._hand_over(connection, topic, row.payload, _Durable(row.delivery))
        return True

    def _give_up_held(self) -> None:
        """Drop the messages held back, once it is sure that they are too large."""
        if not self._guard.sure:
            return
        for each in self._held:
            self._drop("too_large", each.topic, TooLargeError(f"the broker hung up on {each.size} bytes"))
            if self._outbox is not None:
                self._outbox.acknowledge(each.delivery)
        self._held.clear()

    def _paused(self) -> bool:
        """Whether durable messages wait after a refusal; rewinds when the wait is over."""
        if not self._paused_until:
            return False
        if time.monotonic() < self._paused_until:
            return True
        self._paused_until = 0.0
        self._rewind()
        return False

    def _hand_over(self, connection: Connection, topic: str, payload: bytes, record: _InFlight | None) -> None:
        """Send; `record` is what the broker's confirmation is for, None for QoS 0."""
        retain = isinstance(record, RetainedState) and self._options.retain
        packet_id = connection.send(topic, payload, qos=0 if record is None else 1, retain=retain)
        if record is not None:
            # Without a packet id the connection is lost: kept under a free key, to be put back with the others.
            self._in_flight[packet_id or -1 - len(self._in_flight)] = record, packet_bytes(topic, payload)
        elif not packet_id:
            self._tally.drop("offline")
            return
        self._tally.add("published")

    def _drop(self, cause: str, topic: str, exc: Exception) -> None:
        self._tally.drop_one(cause, topic, exc)

    def confirm(self, connection: Connection) -> None:
        """Handle the broker's confirmations since the last call."""
        for packet_id, code in connection.acknowledged:
            self._wary = max(0, self._wary - 1)
            record, size = self._in_flight.pop(packet_id, (None, 0))
            if record is None:
                continue
            if isinstance(record, Outgoing):
                record.on_answered()
            if code >= FAILED:
                self._refused(record, code)
                continue
            self._tally.add("acknowledged")
            if self._guard_of(record).passed(size):
                self._note_limit(self._guard_of(record))
            if not isinstance(record, RetainedState):
                self._logged = ""
            if isinstance(record, _Durable):
                self._settle(record)
            elif isinstance(record, RetainedState) and not record.payload:
                self._mailbox.forget(record)
        connection.acknowledged.clear()

    def _note_limit(self, guard: SizeGuard) -> None:
        logger.warning(
            "broker %s hangs up on messages of %d bytes and takes smaller ones: those as large are shortened or dropped"
            " (too_large) from now on; raise its limit (mosquitto: max_packet_size, message_size_limit), then restart"
            " edged",
            self._options.address,
            guard.refused_bytes,
        )
        self._give_up_held()

    def _settle(self, record: _Durable) -> None:
        if self._outbox is not None:
            self._outbox.acknowledge(record.delivery)

    def _refused(self, record: _InFlight, code: int) -> None:
        """The broker refused a message: a durable one that may pass later stays in the outbox, others are dropped."""
        self._note_refusal(code)
        if not isinstance(record, _Durable):
            self._tally.drop("refused")
        elif code in HOPELESS:
            self._tally.drop("refused")
            self._settle(record)
        else:
            self._paused_until = time.monotonic() + self._options.refused_retry_s

    def _note_refusal(self, code: int) -> None:
        self.refusal = (
            f"broker {self._options.address} refuses messages (reason 0x{code:02x}); check its access rules for this"
            " device's topics"
        )
        self._tally.last_error = self.refusal
        logger.log(logging.DEBUG if self.refusal == self._logged else logging.WARNING, "%s", self.refusal)
        self._logged = self.refusal
