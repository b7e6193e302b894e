"""Takes the addresses of cameras out of text for places where anybody may look."""

from __future__ import annotations

import re

HIDDEN = "its address"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/{1,3}[^\s\"'<>]+|gst:.*?(?= cannot be |$)", re.DOTALL)
_NUMBERS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|\[[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\](?::\d+)?")
_HOST = re.compile(r"://(?:[^/?#\s\"']*@)?([A-Za-z0-9][\w.-]*)|(?:\bhost=[\"']?)([A-Za-z0-9][\w.-]*)")
_hosts: set[str] = set()


def remember_address(source: str) -> None:
    """Hide the host of this camera's source from now on, wherever it is named alone."""
    _hosts.update(host.lower() for pair in _HOST.findall(source) for host in pair if host)


def forget_addresses() -> None:
    """Know no host any more."""
    _hosts.clear()


def without_addresses(text: str) -> str:
    """`text` without URLs, pipelines, numeric addresses and the hosts that were remembered."""
    text = _NUMBERS.sub(HIDDEN, _URL.sub(HIDDEN, text))
    for host in sorted(_hosts, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?::\d+)?(?![\w-])", HIDDEN, text, flags=re.IGNORECASE)
    return text
