"""Takes the addresses of cameras out of text for places where anybody may look."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

HIDDEN = "its address"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/{1,3}[^\s\"'<>]+|gst:.*?(?= cannot be |$)", re.DOTALL)
_NUMBERS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|\[[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\](?::\d+)?")
_hosts: set[str] = set()


def remember_address(source: str) -> None:
    """Hide the host of this camera's source from now on, wherever it is named alone."""
    try:
        host = urlsplit(source).hostname
    except ValueError:  # brackets that do not match: the source is refused elsewhere
        return
    if host:
        _hosts.add(host)


def forget_addresses() -> None:
    """Know no host any more."""
    _hosts.clear()


def without_addresses(text: str) -> str:
    """`text` without URLs, pipelines, numeric addresses and the hosts that were remembered."""
    text = _NUMBERS.sub(HIDDEN, _URL.sub(HIDDEN, text))
    for host in sorted(_hosts, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?::\d+)?(?![\w-])", HIDDEN, text, flags=re.IGNORECASE)
    return text
