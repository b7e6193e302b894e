"""MQTT inside WebSocket frames (RFC 6455), as a socket that paho's client reads and writes like any other.

paho has such a class of its own, which neither bounds the whole handshake nor says what the server answered, sends the
answer to a ping unmasked, for which a server must close the connection, and masks byte by byte.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping

PROTOCOL = "mqtt"
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_MOST_HEADER_BYTES = 16 * 1024
_CHUNK_BYTES = 64 * 1024
_MOST_PONGS_BYTES = 4096  # unsent; further pings go unanswered, which the protocol allows
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_CONTROL, _MOST_CONTROL_BYTES = 0x8, 125
_LENGTH_16, _LENGTH_64 = 126, 127
_SWITCHING = 101
_NOTHING_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class UpgradeError(ConnectionError):
    """The server did not open a WebSocket.

    Attributes:
        status: of its HTTP answer, as `404 Not Found`; empty where it gave none.
        code: the number; 0 where it gave none.
    """

    def __init__(self, problem: str, *, status: str = "", code: int = 0) -> None:
        super().__init__(problem)
        self.status, self.code = status, code


class WebSocket:
    """The bytes inside the binary frames of a WebSocket; not for several threads at once.

    Args:
        sock: connected, encrypted already where that is wanted; closed with this object.
        authority: host, and port where it is not the default, for the header `Host`.
        path: as `/mqtt`, may hold a query.
        timeout_s: for the whole handshake.

    Raises:
        UpgradeError: the server answers something else.
        TimeoutError: no whole answer in time.
        OSError: the connection broke.
    """

    def __init__(self, sock: socket.socket, *, authority: str, path: str, timeout_s: float) -> None:
        self._socket = sock
        self._raw = bytearray()  # received, not yet understood
        self._data = bytearray()  # MQTT's
        self._out = bytearray()  # frames that the socket has not taken yet
        self._framed = 0  # bytes of the packet among them that `send` has not reported yet
        self._left = 0  # bytes of the present frame that are still to come
        self._ended = ""  # why the server closed the WebSocket
        self._shake_hands(authority, path, until=time.monotonic() + timeout_s)

    def _shake_hands(self, authority: str, path: str, *, until: float) -> None:
        key = base64.b64encode(os.urandom(16)).decode("ascii")
        lines = (f"GET {path} HTTP/1.1", f"Host: {authority}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
                 f"Sec-WebSocket-Protocol: {PROTOCOL}", "", "")  # fmt: skip
        self._socket.settimeout(max(0.01, until - time.monotonic()))
        self._socket.sendall("\r\n".join(lines).encode("ascii"))
        while b"\r\n\r\n" not in self._raw:
            self._socket.settimeout(max(0.01, until - time.monotonic()))
            received = self._socket.recv(4096)
            self._raw += received
            if not self._raw.startswith(b"HTTP/"[: len(self._raw)]) or not received:
                raise UpgradeError("no answer in HTTP")
            if len(self._raw) > _MOST_HEADER_BYTES:
                raise UpgradeError("an endless answer in HTTP")
            if time.monotonic() > until:
                raise TimeoutError
        head, _, rest = self._raw.partition(b"\r\n\r\n")
        self._raw = bytearray(rest)
        _require_upgrade(head.decode("latin-1"), key)
        self._unpack()

    @property
    def stream(self) -> socket.socket:
        """The socket below."""
        return self._socket

    def recv(self, size: int) -> bytes:
        """At most `size` bytes; empty at the end.

        Raises:
            BlockingIOError: nothing has arrived; with TLS also ssl.SSLWantReadError.
            ConnectionError: the server breaks the protocol, or has closed the WebSocket and says why.
        """
        if not (self._data or self._ended):
            received = self._socket.recv(_CHUNK_BYTES)
            if not received:
                return b""
            self._raw += received
            self._unpack()
        if not self._data:
            raise ConnectionError(self._ended) if self._ended else BlockingIOError
        given = bytes(self._data[:size])
        del self._data[:size]
        return given

    def pending(self) -> int:
        """How much `recv` has to say although nothing more arrives: bytes, or that the server closed the WebSocket."""
        in_tls = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._data) + in_tls + bool(self._ended)

    def send(self, data: bytes | bytearray) -> int:
        """Send `data` as one frame; returns its length once the socket has taken all of it.

        Raises:
            BlockingIOError: the socket takes no more now; call again with the same `data`. With TLS also
                ssl.SSLWantWriteError.
        """
        if not self._framed:
            self._out += frame(_BINARY, data)
            self._framed = len(data)
        self._flush()
        sent, self._framed = self._framed, 0
        return sent

    def _flush(self) -> None:
        while self._out:
            del self._out[: self._socket.send(self._out)]

    def fileno(self) -> int:
        """Of the socket below."""
        return self._socket.fileno()

    def setblocking(self, blocking: bool) -> None:  # noqa: FBT001 - as a socket has it
        """Of the socket below."""
        self._socket.setblocking(blocking)

    def close(self) -> None:
        """Close the socket below; safe to call twice."""
        self._socket.close()

    def _unpack(self) -> None:
        """Move what frames hold from `_raw` to `_data`, and answer pings."""
        while self._raw and not self._ended:
            if self._left:
                part = self._raw[: self._left]
                self._data += part
                self._left -= len(part)
                del self._raw[: len(part)]
            elif not self._begin_frame():
                return

    def _begin_frame(self) -> bool:
        """Take a frame's head, and a control frame whole; False where not all of it has arrived."""
        head = _head(self._raw)
        if head is None:
            return False
        opcode, size, length = head
        if opcode in (_CONTINUATION, _BINARY):
            self._left = length
            del self._raw[:size]
            return True
        if len(self._raw) < size + length:
            return False
        content = bytes(self._raw[size : size + length])
        del self._raw[: size + length]
        self._control(opcode, content)
        return True

    def _control(self, opcode: int, content: bytes) -> None:
        if opcode == _CLOSE:
            code = int.from_bytes(content[:2], "big")
            reason = "".join(letter for letter in content[2:].decode("utf-8", "replace") if letter.isprintable())
            self._ended = f"it closed the WebSocket, code {code}" + f": {reason}" * bool(reason)
        if opcode == _PING and len(self._out) < _MOST_PONGS_BYTES:
            self._out += frame(_PONG, content)
            with contextlib.suppress(*_NOTHING_NOW):  # else it goes with the next packet
                self._flush()


def frame(opcode: int, data: bytes | bytearray) -> bytes:
    """A whole frame from a client, masked with random bytes as the protocol demands."""
    length = len(data)
    if length < _LENGTH_16:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | _LENGTH_16)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | _LENGTH_64)) + length.to_bytes(8, "big")
    mask = os.urandom(4)
    repeated = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")  # at once: a loop over bytes is far slower
    return head + mask + masked.to_bytes(length, "big")


def _head(raw: bytearray) -> tuple[int, int, int] | None:
    """Opcode, bytes of the head, and bytes of the content; None where the head is not there yet.

    Raises:
        ConnectionError: no server may send such a frame to an MQTT client.
    """
    if len(raw) < 2:  # noqa: PLR2004 - its first two bytes
        return None
    opcode, length, size = raw[0] & 0x0F, raw[1] & 0x7F, 2
    if raw[0] & 0x70 or raw[1] & 0x80 or opcode not in (_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG):
        raise ConnectionError("a WebSocket frame that no server may send to an MQTT client")
    if opcode & _CONTROL and length > _MOST_CONTROL_BYTES:
        raise ConnectionError("a WebSocket control frame that is too large")
    if length >= _LENGTH_16:
        size += 2 if length == _LENGTH_16 else 8
        if len(raw) < size:
            return None
        length = int.from_bytes(raw[2:size], "big")
    return opcode, size, length


def _require_upgrade(head: str, key: str) -> None:
    """Raise UpgradeError unless the answer to the handshake opens a WebSocket for MQTT."""
    first, *rest = head.split("\r\n")
    status = first.partition(" ")[2].strip()
    number = status[:3]
    code = int(number) if number.isascii() and number.isdecimal() else 0
    if code != _SWITCHING:
        shown = "".join(letter for letter in status[:80] if letter.isprintable())
        raise UpgradeError("not a WebSocket", status=shown, code=code)
    headers = dict(_headers(rest))
    expected = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode("ascii")).digest()).decode("ascii")  # noqa: S324 - RFC 6455
    if not _upgrades(headers) or headers.get("sec-websocket-accept") != expected:
        raise UpgradeError("a false WebSocket handshake")
    if headers.get("sec-websocket-protocol", PROTOCOL).lower() != PROTOCOL:
        raise UpgradeError("a WebSocket for another protocol than MQTT")


def _upgrades(headers: Mapping[str, str]) -> bool:
    return headers.get("upgrade", "").lower() == "websocket" and "upgrade" in headers.get("connection", "").lower()


def _headers(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition(":")
        yield name.strip().lower(), value.strip()
