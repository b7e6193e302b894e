"""Finds the endpoint of a camera's source."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from edged.capture.boundary.endpoint import MOST_ADDRESSES
from edged.capture.sources.v4l2.node import node_path

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


def resolve(source: str) -> str:
    """`address|address|port` of a network source, from the resolver; the path of a device; else empty.

    May block as long as the resolver does: for child processes only.
    """
    if source.isdecimal() or source.startswith("/dev/"):
        return node_path(source)
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
