"""The thread that owns the broker connection: connects, keeps retained topics up to date, sends what waits.

Nothing here blocks a caller. What cannot be sent is dropped, oldest first, and counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import ssl
import threading
import time
from collections.abc import Callable

from edged.core.errors import BrokerError
from edged.core.pulse import Pulse
from edged.publish.backoff import Backoff
from edged.publish.client import Will
from edged.publish.connection import Connection
from edged.publish.counters import MessageTally
from edged.publish.faults import KEEP_ALIVE_TIMEOUT, SESSION_TAKEN_OVER, BrokerRefusal
from edged.publish.mailbox import Mailbox, Outgoing
from edged.publish.options import MqttOptions
from edged.publish.sender import Sender

logger = logging.getLogger(__name__)

_TICK_S = 1.0
_CLOSING_TICK_S = 0.05
_SILENT_S = 20.0  # a thread that takes this long for one turn hangs
_CONNECT_SILENT_S = 180.0  # the resolver alone may take a minute, and nothing can interrupt it


class Network:
    """Owns the connection to one broker.

    Args:
        options: the broker and its limits.
        client_id: of this client.
        will: the broker publishes it when this client is lost.
        context: TLS; None for plain TCP.
        mailbox: messages wait there for the thread.
        sender: gives what to send.
        tally: counts everything.
        on_connected: called from the thread when the broker has accepted this client; must not wait.
    """

    def __init__(
        self,
        options: MqttOptions,
        *,
        client_id: str,
        will: Will,
        context: ssl.SSLContext | None,
        mailbox: Mailbox,
        sender: Sender,
        tally: MessageTally,
        on_connected: Callable[[], None],
    ) -> None:
        self._options = options
        self._client_id = client_id
        self._will = will
        self._context = context
        self._mailbox = mailbox
        self._sender = sender
        self._tally = tally
        self._on_connected = on_connected
        self._using = threading.Lock()  # connection and sender: one thread at a time
        self._live: Connection | None = None
        self._wake_lock = threading.Lock()
        self._asleep = False
        self._closing = False
        self._deadline = 0.0
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.pulse = Pulse()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Start the thread, which connects."""
        self._thread.start()

    def send(self, message: Outgoing) -> None:
        """Send a message, or leave it to the thread; never waits."""
        if message.qos == 0 and self._sent_at_once(message):
            return
        if self._mailbox.put(message):
            self.wake()

    def _sent_at_once(self, message: Outgoing) -> bool:
        # Passing it to the thread costs two context switches, more than sending it.
        if not self._using.acquire(blocking=False):
            return False
        try:
            live = self._live
            if live is None or self._closing or not self._sender.send_at_once(live, message):
                return False
            needs_thread = bool(live.lost) or live.congested
        finally:
            self._using.release()
        if needs_thread:
            self.wake()
        return True

    def wake(self) -> None:
        """Make the thread look for work; cheap while it is awake."""
        with self._wake_lock:
            asleep, self._asleep = self._asleep, False
            if asleep and not self._closing:
                os.eventfd_write(self._wake_fd, 1)

    def close(self, timeout_s: float) -> None:
        """Send what waits and the last states, then disconnect; takes at most `timeout_s`, safe to call twice.

        If the broker does not confirm in time, the connection ends without DISCONNECT, so that it publishes the will.
        """
        with self._wake_lock:
            if self._closing:
                return
            self._deadline = time.monotonic() + 0.8 * timeout_s
            self._closing = True
            os.eventfd_write(self._wake_fd, 1)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            # It waits in DNS or connect() and ends after that; as a daemon thread it does not hold up the exit.
            logger.warning("broker %s: gave up waiting for an attempt to connect", self._options.address)

    def _run(self) -> None:
        backoff = Backoff(self._options)
        while not self._closing:
            self.pulse.beat(within_s=_CONNECT_SILENT_S)
            try:
                delay_s = self._attempt(backoff)
            except BrokerRefusal as exc:
                self._report(str(exc))
                delay_s = backoff.refused_s()
            except BrokerError as exc:
                self._report(str(exc))
                delay_s = backoff.failed_s()
            except Exception:
                # A packet that paho cannot parse must end this connection only, not the thread.
                logger.exception("broker %s: unexpected failure, connecting again", self._options.address)
                delay_s = backoff.refused_s()
            self._sender.disconnected()
            self.pulse.beat(within_s=delay_s + _SILENT_S)
            self._rest(delay_s)
        self.pulse.end()
        with self._wake_lock:  # `close` wrote to it
            os.close(self._wake_fd)

    def _attempt(self, backoff: Backoff) -> float:
        """Make one connection and serve it to its end; returns the seconds to wait before the next."""
        will = Will(self._sender.route(self._will.topic), self._will.payload)
        connection = Connection(self._options, client_id=self._client_id, will=will, context=self._context)
        try:
            connection.open(stop=lambda: self._closing)
            began = time.monotonic()
            self._connected()
            self._serve(connection)
        finally:
            connection.abort()
        if self._closing:
            return 0.0
        if connection.lost_code not in (KEEP_ALIVE_TIMEOUT, SESSION_TAKEN_OVER):
            self._sender.hung_up()
        delay_s = backoff.lost_s(time.monotonic() - began)
        if self._sender.refusal:  # some brokers close the connection when they refuse a message
            self._report(self._sender.refusal)
            return backoff.refused_s()
        if connection.lost_code == SESSION_TAKEN_OVER or backoff.contested:
            self._report(self._contested(connection))
            return backoff.refused_s()
        self._report(f"lost broker {self._options.address}: {connection.lost}")
        return delay_s

    def _contested(self, connection: Connection) -> str:
        """What may be wrong where the broker accepts this client and drops it again; only MQTT 5 gives the reason."""
        dropped = f"broker {self._options.address} accepts this client and drops it again ({connection.lost}): "
        taken_over = f"another client may use the client id {self._client_id!r}"
        if connection.lost_code == SESSION_TAKEN_OVER:
            return dropped + taken_over
        forbidden = "access rules may forbid this device's topics"
        too_large = f"a message (up to {connection.largest_bytes} bytes here) may be larger than it takes"
        problem = f"{dropped}{taken_over}, {forbidden}, or {too_large}"
        return problem if self._options.protocol == "5" else f'{problem}; with [mqtt] protocol = "5" most say which'

    def _connected(self) -> None:
        self._sender.connected(self._will.topic)
        self._tally.add("connects")
        self._tally.last_error = ""
        logger.info(
            "connected to broker %s as %s (MQTT %s%s), %d messages dropped so far",
            self._options.address,
            self._client_id,
            self._options.protocol,
            ", TLS" if self._context else ", not encrypted",
            self._tally.dropped(),
        )
        self._on_connected()

    def _report(self, problem: str) -> None:
        """Log a problem when it changes; a repeated one at DEBUG."""
        if self._closing:
            return
        level = logging.DEBUG if problem == self._tally.last_error else logging.WARNING
        self._tally.last_error = problem
        logger.log(level, "%s; retrying", problem)

    def _rest(self, delay_s: float) -> None:
        """Sleep until the next attempt, or until closed."""
        until = time.monotonic() + delay_s
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        while not self._closing and (left_s := until - time.monotonic()) > 0:
            poll.poll(int(left_s * 1000) + 1)
            self._clear_wake()

    def _clear_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

    def _serve(self, connection: Connection) -> None:
        with self._using:
            self._live = connection
        try:
            while not connection.lost:
                self.pulse.beat(within_s=_SILENT_S)
                with self._using:
                    if self._closing:
                        self._sender.hold_durable()
                    blocked = self._sender.feed(connection)
                    if self._closing and self._finished(connection):
                        return
                    pending = connection.watch(wake_fd=self._wake_fd)
                events = connection.wait(pending, self._doze(blocked=blocked))
                self._clear_wake()
                with self._using:
                    connection.process(events)
                    self._sender.confirm(connection)
        finally:
            with self._using:
                self._live = None

    def _doze(self, *, blocked: bool) -> float:
        """How long the thread may wait for the network, seconds. Callers wake it only if that could change anything."""
        if self._closing:
            return _CLOSING_TICK_S
        if blocked:
            return _TICK_S
        with self._wake_lock:
            self._asleep = True
        # Checked after `_asleep` is set: what is added from now on also writes to the wake descriptor.
        return 0.0 if self._sender.waiting else _TICK_S

    def _finished(self, connection: Connection) -> bool:
        """Whether everything sent at close was confirmed, or time is up."""
        if not (self._sender.owed or connection.congested):
            connection.close()
            return True
        return time.monotonic() >= self._deadline
