"""Notices that an absent camera is back long before the next attempt is due, without a process or a thread.

While a network camera is away, its port is knocked on every second with a connection that is closed at once; a
device is looked for by its path. Only a change from closed to open rings: a camera that is there and fails for
another reason keeps its growing pauses.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import selectors
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

EVERY_S = 1.0
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


def resolve(source: str) -> str:
    """`address:port` of a network source, asking the resolver; `/dev/...` as it is; else empty.

    May block as long as the resolver does: for child processes only.
    """
    if source.startswith("/dev/"):
        return source
    try:
        parts = urlsplit(source)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme.lower())
        if not parts.hostname or port is None:
            return ""
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return ""
    return f"{found[0][4][0]}|{port}"


class Doorbell:
    """Watches one absent camera. Used in the supervisor's thread.

    Args:
        place: as `resolve` gives it; comes from the child and is not trusted.
        selector: to hear of the connection.
        ring: called when the camera is back.

    Attributes:
        shut: the last knock found nobody.
        due_s: when the next one is due, monotonic.
    """

    def __init__(self, place: str, selector: selectors.BaseSelector, ring: Callable[[], None]) -> None:
        self._place = place
        self._selector = selector
        self._ring = ring
        self._knock: socket.socket | None = None
        self.shut = False
        self.due_s = 0.0

    def step(self, now_s: float) -> None:
        """Knock, if it is time."""
        if now_s < self.due_s:
            return
        self.due_s = now_s + EVERY_S
        if self._place.startswith("/dev/"):
            self._judge(is_open=os.path.exists(self._place))
            return
        if self._knock is not None:  # no answer to the last one
            self._hang_up()
            self._judge(is_open=False)
        self._connect()

    def close(self) -> None:
        """Stop watching; safe to call twice."""
        self._hang_up()
        self.due_s = float("inf")

    def _connect(self) -> None:
        address, _, port = self._place.partition("|")
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET  # noqa: PLR2004
            knock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except (OSError, ValueError):
            self.due_s = float("inf")
            return
        with contextlib.suppress(OSError, OverflowError, ValueError):
            code = knock.connect_ex((address, int(port)))
            if code == errno.EINPROGRESS:
                self._knock = knock
                self._selector.register(knock, selectors.EVENT_WRITE, self._answered)
                return
            self._judge(is_open=code == 0)
        knock.close()

    def _answered(self) -> None:
        if self._knock is None:
            return
        code = self._knock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._hang_up()
        self._judge(is_open=code == 0)

    def _judge(self, *, is_open: bool) -> None:
        if is_open and self.shut:
            self.close()
            self._ring()
        self.shut = not is_open

    def _hang_up(self) -> None:
        if self._knock is not None:
            self._selector.unregister(self._knock)
            self._knock.close()
            self._knock = None
