"""A TCP relay between client and server that tests can close, stall or make deaf: faults of the network itself."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType


@dataclass
class Traffic:
    """What passed on one connection, to the server and back."""

    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)


class Gate:
    """Relays connections on `port` to `target_port`, both on loopback.

    Attributes:
        upstream, downstream: whether bytes to the server, and back to the client, pass at the moment; while one
            does not, nothing is read either, so that the sender's buffers fill as they do before a frozen peer.
        connections: what passed so far, by connection.
    """

    def __init__(self, target_port: int) -> None:
        self.upstream = self.downstream = True
        self.connections: list[Traffic] = []
        self._target_port = target_port
        self._open = True
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, tuple[socket.socket, bool]] = {}
        self._records: dict[socket.socket, bytearray] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="gate")
        self._thread.start()

    @property
    def passed(self) -> bytes:
        """Everything that reached the server so far."""
        return b"".join(traffic.up for traffic in self.connections)

    def close(self) -> None:
        """Cut what is connected and turn away what comes."""
        with self._lock:
            self._open = False
            self._cut()

    def open(self) -> None:
        with self._lock:
            self.upstream = self.downstream = self._open = True

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join(10)
        with self._lock:
            self._cut()
        self._listener.close()

    def _cut(self) -> None:
        for end in self._pairs:
            end.close()
        self._pairs.clear()

    def _run(self) -> None:
        while not self._ending:
            with self._lock:
                passing = [end for end, (_, up) in self._pairs.items() if (self.upstream if up else self.downstream)]
            with contextlib.suppress(OSError, ValueError):  # an end that was cut meanwhile
                readable, _, _ = select.select([self._listener, *passing], [], [], 0.01)
                for end in readable:
                    if end is self._listener:
                        self._accept()
                    else:
                        self._relay(end)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        with self._lock:
            if not self._open:
                client.close()
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                client.close()
                return
            self._pairs[client] = (server, True)
            self._pairs[server] = (client, False)
            traffic = Traffic()
            self.connections.append(traffic)
            self._records[client], self._records[server] = traffic.up, traffic.down

    def _relay(self, end: socket.socket) -> None:
        with self._lock:
            if end not in self._pairs:
                return
            other, _ = self._pairs[end]
            try:
                data = end.recv(65536)
            except OSError:
                data = b""
            if data:
                with contextlib.suppress(OSError):
                    other.sendall(data)
                self._records[end] += data
                return
            for each in (end, other):
                self._pairs.pop(each, None)
                each.close()
