"""Stand-ins for the brokers of clouds: servers that enforce what their makers document, and note who breaks it.

AWS IoT Core: https://docs.aws.amazon.com/general/latest/gr/iot-core.html (quotas of the message broker),
https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html (ports, ALPN) and mqtt.html beside it.
Azure IoT Hub: https://learn.microsoft.com/en-us/azure/iot/iot-mqtt-connect-to-iot-hub
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qsl

from tests.brokers import Certificates
from tests.publish.scripted import CONNECT, PINGREQ, PINGRESP, PUBLISH, SUBSCRIBE, Server, read_packet, text

ALPN = "x-amzn-mqtt-ca"
MOST_PAYLOAD, MOST_TOPIC, MOST_SLASHES, MOST_FILTERS, MOST_CLIENT = 128 * 1024, 256, 7, 8, 128
NOT_AUTHORIZED = 5
_USERNAME, _PASSWORD, _WILL, _WILL_RETAIN = 0x80, 0x40, 0x04, 0x20


@dataclass(frozen=True)
class Said:
    """One message: published, or a last will."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True)
class Hello:
    """What a client says when it connects."""

    client: str
    version: int
    username: str
    password: str
    will: Said | None


class Rule(Exception):
    """A rule of the cloud that a client broke; the connection ends."""


@dataclass
class Rules:
    """What one cloud allows; each method raises Rule, or gives the code of the answer to CONNECT."""

    hello: Callable[[Hello], int]
    message: Callable[[Hello, Said], None]
    subscribe: Callable[[Hello, list[str]], None]


@dataclass
class Noted:
    """What happened at a cloud."""

    hellos: list[Hello] = field(default_factory=list)
    messages: list[Said] = field(default_factory=list)
    wills: list[Said] = field(default_factory=list)  # that were published
    broken: list[str] = field(default_factory=list)
    alpn: list[str | None] = field(default_factory=list)


class Cloud(Server):
    """One stand-in.

    Args:
        rules: of the cloud.
        context: TLS of the server.
        alpn: protocol without which it hangs up; empty where it does not care.
    """

    def __init__(self, rules: Rules, *, context: ssl.SSLContext, alpn: str = "") -> None:
        self.rules, self.context, self.wanted = rules, context, alpn
        self.noted = Noted()
        self.present: dict[str, ssl.SSLSocket] = {}
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(10)
            with self.context.wrap_socket(client, server_side=True) as secure, secure.makefile("rb") as stream:
                self.noted.alpn.append(secure.selected_alpn_protocol())
                if self.wanted and secure.selected_alpn_protocol() != self.wanted:
                    return
                self._session(secure, stream)

    def _session(self, secure: ssl.SSLSocket, stream: BinaryIO) -> None:
        first = read_packet(stream)
        if first is None or first[0] != CONNECT:
            return
        hello = _hello(first[1])
        orderly = False
        try:
            code = self.rules.hello(hello)
            self._take_over(hello, secure)
            secure.sendall(bytes([0x20, 3, 0, code, 0] if hello.version == 5 else [0x20, 2, 0, code]))
            if code:
                return
            self.noted.hellos.append(hello)
            while packet := read_packet(stream):
                orderly = packet[0] == 0xE0
                if reply := self._reply(hello, *packet):
                    secure.sendall(reply)
        except Rule as rule:
            self.noted.broken.append(str(rule))
        finally:
            if hello.will is not None and not orderly:
                self.noted.wills.append(hello.will)

    def _take_over(self, hello: Hello, secure: ssl.SSLSocket) -> None:
        """A client id is connected once: the newer connection ends the older."""
        if older := self.present.get(hello.client):
            with contextlib.suppress(OSError):
                older.shutdown(socket.SHUT_RDWR)
        self.present[hello.client] = secure

    def _reply(self, hello: Hello, kind: int, body: bytes) -> bytes:
        if kind == PINGREQ:
            return PINGRESP
        if kind == SUBSCRIBE:
            filters = _filters(body[2:], version=hello.version)
            self.rules.subscribe(hello, filters)
            properties = b"\0" * (hello.version == 5)
            granted = bytes([0x90, 2 + len(properties) + len(filters)]) + body[:2] + properties + bytes(len(filters))
            return granted + b"".join(self._kept(each, properties) for each in filters)
        if kind & 0xF0 != PUBLISH:
            return b""
        said, packet_id = _message(kind, body, version=hello.version)
        self.rules.message(hello, said)
        self.noted.messages.append(said)
        return struct.pack("!BBH", 0x40, 2, packet_id) if said.qos else b""

    def _kept(self, topic: str, properties: bytes) -> bytes:
        """What is retained on `topic`; filters with wildcards find nothing."""
        kept = next((said for said in reversed(self.noted.messages) if said.retain and said.topic == topic), None)
        if kept is None or not kept.payload:
            return b""
        named = struct.pack("!H", len(topic)) + topic.encode() + properties
        assert len(named) + len(kept.payload) < 128, "in one byte of length"
        return bytes([PUBLISH | 1, len(named) + len(kept.payload)]) + named + kept.payload


def _hello(body: bytes) -> Hello:
    _, rest = text(body)
    version, flags = rest[0], rest[1]
    rest = rest[4:]
    rest = rest[1 + rest[0] :] if version == 5 else rest  # properties, of less than 128 bytes
    client, rest = text(rest)
    will = None
    if flags & _WILL:
        rest = rest[1 + rest[0] :] if version == 5 else rest
        topic, rest = text(rest)
        payload, rest = text(rest)
        will = Said(topic.decode(), payload, flags >> 3 & 3, bool(flags & _WILL_RETAIN))
    username, rest = text(rest) if flags & _USERNAME else (b"", rest)
    password, _ = text(rest) if flags & _PASSWORD else (b"", rest)
    return Hello(client.decode(), version, username.decode(), password.decode(), will)


def _message(kind: int, body: bytes, *, version: int) -> tuple[Said, int]:
    qos = kind >> 1 & 3
    topic, rest = text(body)
    packet_id = int.from_bytes(rest[:2], "big") if qos else 0
    rest = rest[2:] if qos else rest
    rest = rest[1 + rest[0] :] if version == 5 else rest
    return Said(topic.decode(), rest, qos, bool(kind & 1)), packet_id


def _filters(rest: bytes, *, version: int) -> list[str]:
    rest = rest[1 + rest[0] :] if version == 5 else rest
    found = []
    while rest:
        wanted, rest = text(rest)
        found.append(wanted.decode())
        rest = rest[1:]
    return found


def _require(holds: object, rule: str) -> None:
    if not holds:
        raise Rule(rule)


def aws(*, clients: tuple[str, ...]) -> Rules:
    """AWS IoT Core, with a policy that lets these client ids connect."""

    def hello(said: Hello) -> int:
        _require(len(said.client.encode()) <= MOST_CLIENT, "client id of more than 128 bytes")
        _require(said.client in clients, "the policy allows no such client id")  # it hangs up without a CONNACK
        if said.will is not None:
            message(said, said.will)
        return 0

    def message(_: Hello, said: Said) -> None:
        named = said.topic
        if named.startswith("$aws/rules/"):  # basic ingest: its first three levels do not count
            named = named.split("/", 3)[3]
        _require(not named.startswith("$"), f"reserved topic {said.topic}")
        _require(named.count("/") <= MOST_SLASHES, f"more than 7 slashes in {said.topic}")
        _require(len(said.topic.encode()) <= MOST_TOPIC, f"topic of more than 256 bytes: {said.topic}")
        _require(len(said.payload) <= MOST_PAYLOAD, f"payload of {len(said.payload)} bytes")
        _require(said.qos <= 1, "QoS 2")

    def subscribe(_: Hello, filters: list[str]) -> None:
        _require(len(filters) <= MOST_FILTERS, "more than 8 subscriptions at once")

    return Rules(hello, message, subscribe)


def azure(*, hub: str, device: str) -> Rules:
    """Azure IoT Hub, with one device."""
    events = f"devices/{device}/messages/events/"

    def hello(said: Hello) -> int:
        _require(said.version == 4, "MQTT 3.1.1 only")
        known = said.client == device and said.username == f"{hub}/{device}/?api-version=2021-04-12"
        if not (known and said.password.startswith("SharedAccessSignature sr=")):
            return NOT_AUTHORIZED
        if said.will is not None:
            message(said, said.will)
        return 0

    def message(_: Hello, said: Said) -> None:
        _require(said.topic.startswith(events), f"no such topic: {said.topic}")
        _require(said.qos <= 1, "QoS 2")
        bag = said.topic.removeprefix(events)
        _require("/" not in bag, f"a level too many: {said.topic}")
        if bag:
            parse_qsl(bag, strict_parsing=True, keep_blank_values=True)
        _require(len(said.payload) + len(said.topic) <= 256 * 1024, "more than 256 kB")

    def subscribe(_: Hello, filters: list[str]) -> None:
        _require(all(each == f"devices/{device}/messages/devicebound/#" for each in filters), f"filters {filters}")

    return Rules(hello, message, subscribe)


def server_tls(made: Certificates, *, client_certificate: bool = False, alpn: str = "") -> ssl.SSLContext:
    """TLS of a server, which asks for a client's certificate if told to."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(made.file("ca.pem")))
    context.load_cert_chain(made.file("server.pem"), made.file("server.key"))
    if client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


@contextmanager
def cloud(rules: Rules, *, context: ssl.SSLContext, alpn: str = "") -> Iterator[Cloud]:
    server = Cloud(rules, context=context, alpn=alpn)
    try:
        yield server
    finally:
        server.close()
