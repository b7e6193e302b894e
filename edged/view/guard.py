"""Who may look: hosts, origins, tokens and sessions. It decides; `server.py` acts on it."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from hmac import compare_digest
from urllib.parse import urlsplit

SESSION_S = 12 * 3600.0
MOST_SESSIONS = 1000
WINDOW_S = 60.0
MOST_WRONG = 5  # tokens of one address in a window
MOST_ADDRESSES = 10_000
COOKIE = "edged-view"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Decides about requests.

    Args:
        token: what must be shown; empty: everybody who reaches the page may look.
        hosts: names by which the page may be reached, beside addresses and `localhost`.
        clock: monotonic seconds.
    """

    def __init__(self, *, token: str, hosts: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token.encode()
        self._hosts = {host.lower() for host in hosts} | {"localhost"}
        self._clock = clock
        self._sessions: OrderedDict[str, float] = OrderedDict()  # id: when it ends
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()  # by address

    @property
    def asks(self) -> bool:
        """Whether a token is needed."""
        return bool(self._token)

    def knows_host(self, header: str) -> bool:
        """Whether a request for this `Host` is meant for this page.

        A name that an attacker's DNS points here is not; an address cannot be pointed anywhere.
        """
        host = _host_of(header)
        return host in self._hosts or _is_address(host)

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether a request with this `Origin` comes from a page of this server, reached as `host`."""
        try:
            return urlsplit(origin).netloc.lower() == host.lower() != ""
        except ValueError:  # brackets that do not match
            return False

    def is_blocked(self, address: str) -> bool:
        """Whether too many wrong tokens came from this address lately. Others are not kept out by its guesses."""
        now_s = self._clock()
        recent = self._wrong.get(address, ())
        return sum(now_s - at_s < WINDOW_S for at_s in recent) >= MOST_WRONG

    def accepts(self, token: str, address: str) -> bool:
        """Whether the token is right; a wrong one is counted. Compared in constant time."""
        if compare_digest(token.encode(errors="replace"), self._token) and self._token:
            return True
        self._wrong.setdefault(address, deque(maxlen=MOST_WRONG)).append(self._clock())
        self._wrong.move_to_end(address)
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        return False

    def new_session(self) -> str:
        """A session for whoever showed the token: the value of a cookie."""
        session = secrets.token_urlsafe(32)
        self._sessions[session] = self._clock() + SESSION_S
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def has_session(self, session: str) -> bool:
        """Whether this session was opened here and has not ended."""
        ends_s = self._sessions.get(session)
        if ends_s is None or ends_s < self._clock():
            self._sessions.pop(session, None)
            return False
        return True

    def end_session(self, session: str) -> None:
        """Whoever had it must show the token again."""
        self._sessions.pop(session, None)


def _host_of(header: str) -> str:
    """The name or address in a `Host` header, without port and brackets, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
