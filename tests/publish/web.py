"""A web server that says exactly what the test wants to whoever asks it for a WebSocket."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ASK_S = 10


@contextmanager
def web_server(serve: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    """A server on loopback; gives its port.

    Args:
        serve: called with each connection and the request's head; what it raises because the client is gone is passed
            over. Then the connection is closed.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), client:
                client.settimeout(ASK_S)
                serve(client, _head(client))

    thread = threading.Thread(target=run, name="web")
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(ASK_S)


def _head(client: socket.socket) -> bytes:
    asked = b""
    while b"\r\n\r\n" not in asked:
        if not (more := client.recv(4096)):
            raise ConnectionError
        asked += more
    return asked


def upgrade(asked: bytes, *more: bytes) -> bytes:
    """The answer that opens the WebSocket which `asked` asks for."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", asked)
    assert found is not None
    accept = base64.b64encode(hashlib.sha1(found[1] + _GUID).digest())
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
             b"Sec-WebSocket-Accept: " + accept, *(more or [b"Sec-WebSocket-Protocol: mqtt"]), b"", b""]  # fmt: skip
    return b"\r\n".join(lines)


def server_frame(opcode: int, content: bytes, *, last: bool = True) -> bytes:
    """A frame as servers send it, not masked; content of at most 65535 bytes."""
    head = bytes([0x80 * last | opcode])
    if len(content) < 126:
        return head + bytes([len(content)]) + content
    return head + b"\x7e" + len(content).to_bytes(2, "big") + content
