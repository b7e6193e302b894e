"""A server that says exactly what the test wants, MQTT's bytes made by hand."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 0x10, 0x30, 0x82, 0xC0
CONNACK = bytes([0x20, 3, 0, 0, 0])
PINGRESP = b"\xd0\0"
SESSION_TAKEN_OVER = b"\xe0\x06\x8e\x04\x1f\x00\x01x"  # with a reason, without which paho 2.0 reads no code
_QOS_1 = 0x02


class Server:
    """Accepts connections on loopback, each in a thread of its own; who inherits it says what is answered."""

    def __init__(self) -> None:
        self.connects = 0
        self.serving: list[threading.Thread] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connects += 1
            self.serving.append(threading.Thread(target=self.serve, args=[client], daemon=True))
            self.serving[-1].start()

    def serve(self, client: socket.socket) -> None:
        """Answer one connection, to its end."""
        raise NotImplementedError

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in (self.thread, *self.serving):
            thread.join(10)


class Scripted(Server):
    """A server of MQTT 5 that accepts everybody; `answer` says what follows each QoS 1 message, None hangs up.

    It hangs up, too, on packets whose first byte is `hang_up_on`.
    """

    def __init__(
        self, answer: Callable[[bytes, int], bytes | None], *, connack: bytes = CONNACK, hang_up_on: int = -1
    ) -> None:
        self.answer = answer
        self.hang_up_on = hang_up_on
        self.connack = connack
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as stream:
            client.sendall(self.connack)
            while (packet := read_packet(stream)) and (reply := self._reply(*packet)) is not None:
                client.sendall(reply)

    def _reply(self, kind: int, body: bytes) -> bytes | None:
        if kind == self.hang_up_on:
            return None
        if kind & 0xF6 != PUBLISH | _QOS_1:
            return PINGRESP if kind == PINGREQ else b""
        topic, rest = text(body)
        return self.answer(topic, struct.unpack("!H", rest[:2])[0])


def read_packet(stream: BinaryIO) -> tuple[int, bytes] | None:
    """First byte and body of the next packet; None at the end."""
    try:
        kind = stream.read(1)[0]
        length = shift = 0
        while True:
            byte = stream.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        return kind, stream.read(length)
    except (IndexError, OSError):
        return None


def text(body: bytes) -> tuple[bytes, bytes]:
    """The text or data that `body` begins with, and what follows."""
    end = 2 + struct.unpack("!H", body[:2])[0]
    return body[2:end], body[end:]


def puback(packet_id: int, code: int = 0) -> bytes:
    return struct.pack("!BBHBB", 0x40, 4, packet_id, code, 0)


@contextmanager
def scripted(
    answer: Callable[[bytes, int], bytes | None], *, connack: bytes = CONNACK, hang_up_on: int = -1
) -> Iterator[Scripted]:
    server = Scripted(answer, connack=connack, hang_up_on=hang_up_on)
    try:
        yield server
    finally:
        server.close()
