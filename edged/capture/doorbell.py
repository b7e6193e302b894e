"""Notices that an absent camera is back long before the next attempt is due, without a process or a thread.

While a network camera is away, its port is knocked on every second, at each address that its name has, with connections
that are closed at once; a device is looked for by its path. Only a change from closed to open rings: a camera that is
there and fails for another reason keeps its growing pauses.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import os
import selectors
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

EVERY_S = 1.0
MOST_ADDRESSES = 8  # of one name
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def resolve(source: str) -> str:
    """`address|address|port` of a network source, asking the resolver; `/dev/...` as it is; else empty.

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
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))[:MOST_ADDRESSES]
    return "|".join([*addresses, str(port)])


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
        self._knocks: list[socket.socket] = []
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
        if self._knocks:  # no answer to the last ones
            self._hang_up()
            self._judge(is_open=False)
        *addresses, port = self._place.split("|")
        try:
            targets = [(ipaddress.ip_address(address), int(port)) for address in addresses[:MOST_ADDRESSES]]
        except ValueError:
            targets = []
        self._knock(targets)

    def close(self) -> None:
        """Stop watching; safe to call twice."""
        self._hang_up()
        self.due_s = float("inf")

    def _knock(self, targets: list[tuple[Address, int]]) -> None:
        if not targets:
            self.due_s = float("inf")
            return
        for address, port in targets:
            if self._knock_at(address, port):
                self._hang_up()
                self._judge(is_open=True)
                return
        if not self._knocks:
            self._judge(is_open=False)

    def _knock_at(self, address: Address, port: int) -> bool:
        """True: open. False: not, or not known yet, and then it is among `_knocks`."""
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004
        with contextlib.suppress(OSError, OverflowError):
            knock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            with contextlib.ExitStack() as unless_it_waits:
                unless_it_waits.callback(knock.close)
                code = knock.connect_ex((str(address), port))
                if code != errno.EINPROGRESS:
                    return code == 0
                self._selector.register(knock, selectors.EVENT_WRITE, functools.partial(self._answered, knock))
                self._knocks.append(knock)
                unless_it_waits.pop_all()
        return False

    def _answered(self, knock: socket.socket) -> None:
        if knock not in self._knocks:
            return
        if knock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            self._hang_up()
            self._judge(is_open=True)
            return
        self._drop(knock)
        if not self._knocks:
            self._judge(is_open=False)

    def _judge(self, *, is_open: bool) -> None:
        if is_open and self.shut:
            self.close()
            self._ring()
        self.shut = not is_open

    def _hang_up(self) -> None:
        while self._knocks:
            self._drop(self._knocks[0])

    def _drop(self, knock: socket.socket) -> None:
        self._knocks.remove(knock)
        self._selector.unregister(knock)
        knock.close()
