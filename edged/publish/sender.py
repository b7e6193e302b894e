"""What goes out next and what the broker's confirmations are for: states, then messages, then durable ones."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TypeAlias

from edged.publish.connection import Connection
from edged.publish.counters import Tally
from edged.publish.faults import FAILED, HOPELESS
from edged.publish.mailbox import Mailbox, Outgoing, RetainedState, TooLargeError
from edged.publish.options import MqttOptions
from edged.publish.outbox import Outbox

logger = logging.getLogger(__name__)

_PACKET_OVERHEAD_BYTES = 16  # fixed header, topic length, packet id, empty properties


@dataclass(frozen=True, slots=True)
class _DurableInFlight:
    delivery: int


# What a packet id that the broker has not confirmed yet stands for.
_InFlight: TypeAlias = RetainedState | Outgoing | _DurableInFlight


class Sender:
    """Fills connections, one after the other, from mailbox and outbox; used by one thread at a time.

    Args:
        options: limits and the wait after a refusal.
        mailbox: states and messages.
        outbox: durable messages; None where there are none.
        tally: where everything is counted.
    """

    def __init__(self, options: MqttOptions, *, mailbox: Mailbox, outbox: Outbox | None, tally: Tally) -> None:
        self._options = options
        self._mailbox = mailbox
        self._outbox = outbox
        self._tally = tally
        self._in_flight: dict[int, _InFlight] = {}
        self._paused_until = 0.0
        self._logged = ""
        self.refusal = ""  # of a message on this connection, for a person

    @property
    def waiting(self) -> bool:
        """Whether `feed` would find something to send."""
        durable = self._outbox is not None and self._outbox.ready and not self._paused_until
        return self._mailbox.waiting or durable

    @property
    def owed(self) -> bool:
        """Whether a state or message is unsent or unconfirmed; durable ones are safe on disk."""
        unconfirmed = any(not isinstance(each, _DurableInFlight) for each in self._in_flight.values())
        return unconfirmed or self._mailbox.waiting

    def hold_durable(self) -> None:
        """Send no more durable messages: they wait on disk for the next start."""
        self._paused_until = float("inf")

    def connected(self, first_topic: str) -> None:
        """Say every state again, `first_topic` first."""
        self.refusal = ""
        self._mailbox.connected(first_topic)

    def disconnected(self) -> None:
        """Take back what the broker did not confirm; what needs no confirmation is lost."""
        self._mailbox.disconnected([each for each in self._in_flight.values() if isinstance(each, Outgoing)])
        self._in_flight.clear()
        self._paused_until = 0.0
        if self._outbox is not None:
            self._outbox.rewind()

    def feed(self, connection: Connection) -> bool:
        """Hand over what waits: states, then messages, then durable ones. True where the broker must move first."""
        while not connection.lost:
            if connection.congested or len(self._in_flight) >= connection.limits.inflight:
                return True
            if not (self._send_state(connection) or self._send_message(connection) or self._send_durable(connection)):
                return False
        return True

    def _send_state(self, connection: Connection) -> bool:
        state = self._mailbox.next_state()
        if state is None:
            return False
        self._hand_over(connection, state.topic, state.payload, state)
        return True

    def _send_message(self, connection: Connection) -> bool:
        message = self._mailbox.next_message()
        if message is None:
            return False
        self._send_one(connection, message)
        return True

    def send_at_once(self, connection: Connection, message: Outgoing) -> bool:
        """Send `message` (QoS 0) where nothing waits before it and the socket takes it; else False."""
        if connection.lost or connection.congested or self._mailbox.waiting:
            return False
        self._send_one(connection, message)
        return True

    def _send_one(self, connection: Connection, message: Outgoing) -> None:
        try:
            most = min(self._options.max_payload_bytes, _room(connection, message.topic))
            payload = message.encode(most)
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with one message must not hold up the rest
            self._drop("too_large" if isinstance(exc, TooLargeError) else "invalid", message.topic, exc)
        else:
            self._hand_over(connection, message.topic, payload, message if message.qos else None)

    def _send_durable(self, connection: Connection) -> bool:
        if self._outbox is None or self._paused():
            return False
        row = self._outbox.take()
        if row is None:
            return False
        most = _room(connection, row.topic)
        if len(row.payload) > most:
            self._drop("too_large", row.topic, TooLargeError(f"{len(row.payload)} bytes, the broker takes {most}"))
            self._outbox.acknowledge(row.delivery)
        else:
            self._hand_over(connection, row.topic, row.payload, _DurableInFlight(row.delivery))
        return True

    def _paused(self) -> bool:
        """Whether a refused durable message still waits for its next attempt; rewinds when the time has come."""
        if not self._paused_until:
            return False
        if time.monotonic() < self._paused_until:
            return True
        self._paused_until = 0.0
        if self._outbox is not None:
            self._outbox.rewind()
        return False

    def _hand_over(self, connection: Connection, topic: str, payload: bytes, record: _InFlight | None) -> None:
        """Send; `record` is what the broker's confirmation will be for, None asks for none (QoS 0)."""
        retain = isinstance(record, RetainedState)
        packet_id = connection.send(topic, payload, qos=0 if record is None else 1, retain=retain)
        if record is not None:
            # Without a packet id the connection is gone: kept under a free key, to come back with the others.
            self._in_flight[packet_id or -1 - len(self._in_flight)] = record
        elif not packet_id:
            self._tally.drop("offline")
            return
        self._tally.add("published")

    def _drop(self, cause: str, topic: str, exc: Exception) -> None:
        self._tally.drop(cause)
        logger.warning("message for %s dropped (%s): %s", topic, cause, str(exc))

    def confirm(self, connection: Connection) -> None:
        """Settle what the broker confirmed since the last call."""
        for packet_id, code in connection.acknowledged:
            record = self._in_flight.pop(packet_id, None)
            if record is None:
                continue
            if code >= FAILED:
                self._refused(record, code)
                continue
            self._tally.add("acknowledged")
            if not isinstance(record, RetainedState):
                self._logged = ""
            if isinstance(record, _DurableInFlight):
                self._settle(record)
            elif isinstance(record, RetainedState) and not record.payload:
                self._mailbox.forget(record)
        connection.acknowledged.clear()

    def _settle(self, record: _DurableInFlight) -> None:
        if self._outbox is not None:
            self._outbox.acknowledge(record.delivery)

    def _refused(self, record: _InFlight, code: int) -> None:
        """The broker confirmed with a refusal: what may pass later stays in the outbox, the rest is lost."""
        self._note_refusal(code)
        if not isinstance(record, _DurableInFlight):
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


def _room(connection: Connection, topic: str) -> int:
    """Bytes of payload that the broker takes on this topic."""
    return connection.limits.packet_bytes - len(topic.encode()) - _PACKET_OVERHEAD_BYTES
