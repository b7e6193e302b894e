"""paho's client as edged uses it: one place that knows transport, TLS, credentials and limits."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edged.publish.options import WEBSOCKETS, MqttOptions
from edged.publish.websocket import WebSocket

if TYPE_CHECKING:
    import socket

# Unacknowledged QoS 1 messages at once: enough for 1000 messages per second at 60 ms round trip.
MAX_INFLIGHT = 64
# Largest packet that is read: acknowledgements, and messages like edged's own, of which a camera's announcement to
# Home Assistant is the largest. A broker must not fill the memory.
MOST_INCOMING_BYTES = 1 << 20
_HTTP = b"H"  # its first letter; in MQTT the first byte of a packet that no server may send


@dataclass(frozen=True, slots=True)
class Will:
    """The last will: the broker publishes it, retained where `options.retain` is set, when this client is lost."""

    topic: str
    payload: bytes


class Client(paho.Client):
    """Closes the socket of a failed handshake at once, bounds what it reads, and speaks through a WebSocket."""

    def __init__(self, options: MqttOptions, *, client_id: str, reconnects: bool) -> None:
        self._options = options
        self._first = b""
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if options.protocol == "5" else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=reconnects,
        )
        self.connect_timeout = options.connect_timeout_s

    @property
    def heard_http(self) -> bool:
        """Whether the server's first byte was one of HTTP instead of MQTT."""
        return self._first == _HTTP

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MOST_INCOMING_BYTES:
            raise ConnectionError(f"a packet of {bufsize} bytes, at most {MOST_INCOMING_BYTES} are taken")
        received = super()._sock_recv(bufsize)
        self._first = self._first or received[:1]
        return received

    def _create_socket(self) -> paho.SocketLike:
        sock: socket.socket = super()._create_socket()  # type: ignore[assignment]  # paho is told of no other transport
        if self._options.transport != WEBSOCKETS:
            return sock
        options = self._options
        try:
            return WebSocket(sock, authority=options.authority, path=options.path, timeout_s=options.connect_timeout_s)
        except BaseException:
            sock.close()
            raise

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        if self._ssl_context is None:
            raise ValueError("TLS without a context")
        wrapped = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self.host, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(self.connect_timeout)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


def make_client(
    options: MqttOptions,
    *,
    client_id: str,
    context: ssl.SSLContext | None,
    will: Will | None = None,
    reconnects: bool = False,
) -> Client:
    """A configured client that does not connect yet.

    Args:
        options: the broker.
        client_id: empty lets the broker choose.
        context: TLS; None for none.
        will: None for no last will.
        reconnects: by itself, in paho's own loop.
    """
    client = Client(options, client_id=client_id, reconnects=reconnects)
    client.max_inflight_messages_set(2 * MAX_INFLIGHT)
    if options.username:
        client.username_pw_set(options.username, options.password or None)
    if context is not None:
        client.tls_set_context(context)
        if options.tls is not None and options.tls.insecure:
            client.tls_insecure_set(True)  # noqa: FBT003 - paho's signature
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=options.retain)
    limits = None
    if options.protocol == "5":
        limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        limits.MaximumPacketSize = MOST_INCOMING_BYTES
    client.connect_async(options.host, options.port, keepalive=options.keepalive_s, properties=limits)
    return client
