"""The way that RTSP brings a camera's pictures: what FFmpeg is asked for, and what it got."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator

from edged.capture.spec import Transport

# TCP first: over UDP every lost packet damages the picture. One session asks for all in turn.
OPTIONS: dict[Transport, dict[str, str]] = {
    "auto": {"rtsp_transport": "tcp+udp+udp_multicast", "rtsp_flags": "prefer_tcp"},
    "tcp": {"rtsp_transport": "tcp"},
    "udp": {"rtsp_transport": "udp"},
    "multicast": {"rtsp_transport": "udp_multicast"},
}
_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})


def transport_of(before: frozenset[int]) -> str:
    """`tcp`, `udp` or `multicast`: how the pictures of the RTSP session come that was opened meanwhile.

    FFmpeg does not say it, but only UDP has datagram sockets, and those of multicast have a group's address.

    Args:
        before: what `descriptors` said before it was opened.
    """
    hosts = [host for number in descriptors() - before for host in _datagram_host(number)]
    if any(ipaddress.ip_address(host).is_multicast for host in hosts):
        return "multicast"
    return "udp" if hosts else "tcp"


def descriptors() -> frozenset[int]:
    """The open file descriptors of this process."""
    return frozenset(int(name) for name in os.listdir("/proc/self/fd"))


def _datagram_host(number: int) -> Iterator[str]:
    """The local address of a UDP socket; nothing for any other descriptor."""
    try:
        with socket.socket(fileno=os.dup(number)) as ours:
            if ours.type == socket.SOCK_DGRAM and ours.family in _INTERNET:
                yield ours.getsockname()[0].partition("%")[0]
    except OSError:  # no socket
        return
