"""Probes whether an absent camera is reachable again, so that it need not wait for its next attempt.

Once a second the port of a network camera is tried at each address of its host name, with connections that are closed
at once; for a device the path is looked up. Only a change from unreachable to reachable counts: a camera that is
reachable but fails for another reason keeps its growing pauses.
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

from edged.capture.boundary.endpoint import MOST_ADDRESSES

EVERY_S = 1.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ReachabilityWatch:
    """Watches one absent camera. Used in the supervisor's thread.

    Args:
        endpoint: as `resolve` gives it; comes from the child and is not trusted.
        selector: watches the connections.
        on_back: called when the camera is back.

    Attributes:
        unreachable: the last probe found no connection or device.
        due_s: when the next probe is due, monotonic.
    """

    def __init__(self, endpoint: str, selector: selectors.BaseSelector, on_back: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._selector = selector
        self._on_back = on_back
        self._probes: list[socket.socket] = []
        self.unreachable = False
        self.due_s = 0.0

    def step(self, now_s: float) -> None:
        """Probe, if it is time."""
        if now_s < self.due_s:
            return
        self.due_s = now_s + EVERY_S
        if self._endpoint.startswith("/dev/"):
            self._note(reachable=os.path.exists(self._endpoint))
            return
        if self._probes:  # no answer to the last ones
            self._stop_probes()
            self._note(reachable=False)
        *addresses, port = self._endpoint.split("|")
        try:
            targets = [(ipaddress.ip_address(address), int(port)) for address in addresses[:MOST_ADDRESSES]]
        except ValueError:
            targets = []
        self._probe(targets)

    def close(self) -> None:
        """Stop watching; safe to call twice."""
        self._stop_probes()
        self.due_s = float("inf")

    def _probe(self, targets: list[tuple[Address, int]]) -> None:
        if not targets:
            self.due_s = float("inf")
            return
        for address, port in targets:
            if self._probe_at(address, port):
                self._stop_probes()
                self._note(reachable=True)
                return
        if not self._probes:
            self._note(reachable=False)

    def _probe_at(self, address: Address, port: int) -> bool:
        """True: reachable. False: not, or not known yet; then the connection is in `_probes`."""
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004
        with contextlib.suppress(OSError, OverflowError):
            probe = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            with contextlib.ExitStack() as unless_it_waits:
                unless_it_waits.callback(probe.close)
                code = probe.connect_ex((str(address), port))
                if code != errno.EINPROGRESS:
                    return code == 0
                self._selector.register(probe, selectors.EVENT_WRITE, functools.partial(self._answered, probe))
                self._probes.append(probe)
                unless_it_waits.pop_all()
        return False

    def _answered(self, probe: socket.socket) -> None:
        if probe not in self._probes:
            return
        if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            self._stop_probes()
            self._note(reachable=True)
            return
        self._drop(probe)
        if not self._probes:
            self._note(reachable=False)

    def _note(self, *, reachable: bool) -> None:
        if reachable and self.unreachable:
            self.close()
            self._on_back()
        self.unreachable = not reachable

    def _stop_probes(self) -> None:
        while self._probes:
            self._drop(self._probes[0])

    def _drop(self, probe: socket.socket) -> None:
        self._probes.remove(probe)
        self._selector.unregister(probe)
        probe.close()
