"""One connection to a broker, from CONNECT to its end, driven step by step by one thread at a time.

paho keeps state of an old connection (queue, in-flight messages, a downgraded protocol) in its client. Here each
connection has a new client, and edged keeps that state itself, so that memory is bounded and order is kept.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paho.mqtt import client as paho
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edged.publish.client import MAX_INFLIGHT, Will, make_client
from edged.publish.faults import KEEP_ALIVE_TIMEOUT, Silence, connect_failure, no_answer, refusal
from edged.publish.options import MAX_MQTT_PAYLOAD_BYTES, MqttOptions
from edged.publish.websocket import WebSocket

# More would only hold stale detections in the kernel when the broker freezes.
_SEND_BUFFER_BYTES = 256 * 1024
_TICK_S = 1.0
_MOST_FILTERS = 8  # in one packet: AWS IoT Core takes no more


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Limits that the broker announced: unacknowledged messages at once, bytes per packet."""

    inflight: int
    packet_bytes: int


class Connection:
    """A connection that is opened once, used by one thread at a time and thrown away.

    Args:
        options: the broker.
        client_id: of this client.
        will: None for no last will.
        context: TLS; None for none.
    """

    def __init__(
        self, options: MqttOptions, *, client_id: str, will: Will | None, context: ssl.SSLContext | None
    ) -> None:
        self._options = options
        self._client_id = client_id
        self._client = make_client(options, client_id=client_id, will=will, context=context)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._poll = select.poll()
        self._socket_fd = -1
        self._answer: ReasonCode | None = None
        self._transport_error = ""
        self.limits = BrokerLimits(MAX_INFLIGHT, MAX_MQTT_PAYLOAD_BYTES)
        self.lost = ""
        self.lost_code = 0
        self.acknowledged: list[tuple[int, int]] = []
        self.largest_bytes = 0  # largest payload sent
        self.received = 0
        self.granted: bool | None = None
        self._unanswered = 0  # packets that ask for subscriptions
        self._forbidden = False  # one of these

    def open(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Connect and wait for the broker's answer; gives up early when `stop` gives True.

        Raises:
            BrokerError: not reachable or no answer.
            BrokerRefusal: the broker refuses this client.
        """
        self._client.on_log = self._on_log
        try:
            self._client.reconnect()
        except OSError as exc:
            raise connect_failure(exc, self._options) from exc
        self._tune()
        deadline = time.monotonic() + self._options.connect_timeout_s
        while self._answer is None and not self.lost and time.monotonic() < deadline and not stop():
            self.step(min(0.1, self._options.connect_timeout_s))
        self._client.on_log = None
        if self._answer is None:
            closed = bool(self.lost)
            self.abort()
            silence = Silence(closed=closed, http=self._client.heard_http, detail=self._transport_error)
            raise no_answer(self._options, silence)
        if self._answer.is_failure:
            self.abort()
            raise refusal(self._answer, self._options, client_id=self._client_id)

    def _tune(self) -> None:
        sock = self._client.socket()
        if isinstance(sock, WebSocket):
            sock = sock.stream
        if isinstance(sock, socket.socket):
            # A detection must not wait for the acknowledgement of the one before it (Nagle's algorithm).
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    @property
    def congested(self) -> bool:
        """The socket's send buffer is full: send nothing until it has drained."""
        return self._client.want_write()

    def send(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        """Hand one message to the socket; returns its packet id, 0 where the connection is lost.

        Raises:
            ValueError: a topic that MQTT forbids.
        """
        self.largest_bytes = max(self.largest_bytes, len(payload))
        while True:
            info = self._client.publish(topic, payload, qos=qos, retain=retain)
            # paho's next id belongs to a message still in flight: take the one after it.
            if info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else 0

    def subscribe(self, filters: Sequence[str], on_message: Callable[[str, bytes, bool], None]) -> None:
        """Subscribe with QoS 0.

        Sets `granted` to whether the broker allows all of `filters`; `received` counts messages.

        Args:
            filters: topics with wildcards; most brokers send retained messages in this order.
            on_message: called from `process` with topic, payload and whether it was retained; must not raise.
        """

        def note(_client: object, _data: object, message: paho.MQTTMessage) -> None:
            self.received += 1
            on_message(message.topic, bytes(message.payload), message.retain)

        self._client.on_message = note
        self._client.on_subscribe = self._on_subscribe
        parts = [filters[at : at + _MOST_FILTERS] for at in range(0, len(filters), _MOST_FILTERS)]
        self._unanswered = len(parts)
        for part in parts:
            self._client.subscribe([(each, 0) for each in part])

    def step(self, timeout_s: float) -> None:
        """Wait for the network, then `process`."""
        self.process(self.wait(self.watch(), timeout_s))

    def watch(self, *, wake_fd: int = -1) -> bool:
        """Prepare `wait` for the socket, and for `wake_fd` to become readable. Returns whether data wait already."""
        sock = self._client.socket()
        if sock is None:
            return True
        self._socket_fd = sock.fileno()
        self._poll.register(self._socket_fd, select.POLLIN | (select.POLLOUT if self.congested else 0))
        if wake_fd >= 0:
            self._poll.register(wake_fd, select.POLLIN)
        return isinstance(sock, (ssl.SSLSocket, WebSocket)) and sock.pending() > 0

    def wait(self, pending: bool, timeout_s: float) -> int:  # noqa: FBT001 - the result of `watch`
        """Wait for poll events of the socket and return them. Only meanwhile may another thread `send`."""
        timeout_ms = 0 if pending else math.ceil(min(timeout_s, _TICK_S) * 1000)
        events = dict(self._poll.poll(timeout_ms)).get(self._socket_fd, 0)
        return events | (select.POLLIN if pending else 0)

    def process(self, events: int) -> None:
        """Read, write and keep alive.

        Adds (packet id, reason code) of acknowledged messages to `acknowledged`. Where the connection has ended, `lost`
        becomes the reason.
        """
        if events & ~select.POLLOUT:
            # Set only here: paho would also call it for every QoS 0 message that it wrote, which costs time.
            self._client.on_publish = self._on_publish
            self._read()
            self._client.on_publish = None
        if events & select.POLLOUT:
            self._client.loop_write()
        self._client.loop_misc()
        if self._client.socket() is None:
            self.lost = self.lost or "the connection broke"

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except Exception as exc:  # noqa: BLE001 - struct.error, IndexError, ...: paho's parser meets garbage
            self._transport_error = f"{type(exc).__name__}: {exc}"
            self.lost = "the server sent what is not MQTT"
            self.abort()

    def close(self) -> None:
        """Send DISCONNECT, so that the broker drops the will, and close."""
        with contextlib.suppress(OSError):
            self._client.disconnect()
        self.abort()

    def abort(self) -> None:
        """Close the socket without DISCONNECT: the broker publishes the will."""
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, limits: Properties | None
    ) -> None:
        inflight = int(getattr(limits, "ReceiveMaximum", MAX_INFLIGHT))
        packet = int(getattr(limits, "MaximumPacketSize", MAX_MQTT_PAYLOAD_BYTES))
        self.limits = BrokerLimits(min(inflight, MAX_INFLIGHT), packet)
        self._answer = reason

    def _on_disconnect(
        self, _client: object, _data: object, flags: paho.DisconnectFlags, reason: ReasonCode, _: object
    ) -> None:
        said = flags.is_disconnect_packet_from_server or reason.value == KEEP_ALIVE_TIMEOUT
        self.lost = self.lost or (str(reason) if said else "the connection broke")
        self.lost_code = int(reason.value)

    def _on_publish(self, _client: object, _data: object, packet_id: int, reason: ReasonCode, _: object) -> None:
        self.acknowledged.append((packet_id, int(reason.value)))

    def _on_subscribe(self, _client: object, _data: object, _mid: int, codes: list[ReasonCode], _: object) -> None:
        self._unanswered -= 1
        self._forbidden = self._forbidden or any(code.is_failure for code in codes)
        self.granted = None if self._unanswered else not self._forbidden

    def _on_log(self, _client: object, _data: object, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._transport_error = text
