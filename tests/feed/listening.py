"""A client of the feed that shares nothing with the program that serves it but the format."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Heard = tuple[dict[str, Any], bytes]


class Listener:
    """Reads messages from the socket at `path`, and asks."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(0.05)
        self.socket.connect(str(path))
        self.heard: list[Heard] = []
        self.ended = False
        self._buffer = b""

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, **message: object) -> None:
        encoded = json.dumps(message).encode()
        self.socket.sendall(struct.pack(">II", len(encoded), 0) + encoded)

    def until(self, wanted: Callable[[Heard], bool], *, timeout_s: float = 10.0) -> Heard:
        """The first message that `wanted` accepts, of all that were heard so far and come."""
        until_s, looked = time.monotonic() + timeout_s, 0
        while time.monotonic() < until_s:
            for heard in self.heard[looked:]:
                looked += 1
                if wanted(heard):
                    return heard
            self.read()
        raise AssertionError(f"not within {timeout_s:g} s; heard {[message['kind'] for message, _ in self.heard]}")

    def kind(self, kind: str, *, timeout_s: float = 10.0, **values: object) -> Heard:
        """The first message of this kind with these values."""
        return self.until(
            lambda heard: heard[0]["kind"] == kind and all(heard[0].get(key) == values[key] for key in values),
            timeout_s=timeout_s,
        )

    def read(self) -> None:
        with contextlib.suppress(TimeoutError):
            received = self.socket.recv(1 << 20)
            self.ended = self.ended or not received
            self._buffer += received
            time.sleep(0 if received else 0.01)
        while len(self._buffer) >= 8:
            size, more = struct.unpack(">II", self._buffer[:8])
            if len(self._buffer) < 8 + size + more:
                return
            encoded, content = self._buffer[8 : 8 + size], self._buffer[8 + size : 8 + size + more]
            self._buffer = self._buffer[8 + size + more :]
            self.heard.append((json.loads(encoded), content))
