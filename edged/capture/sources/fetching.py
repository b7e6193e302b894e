"""One GET for one picture: an answer of bounded size, or an error in our own words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import requests

from edged.capture.sources.authorities import REMEDY
from edged.capture.sources.pictures import MAX_FILE_BYTES
from edged.capture.sources.stream import OpenError
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError
from edged.core.sources import lower_scheme, scheme_of, without_credentials

MAX_REST_S = 3600.0  # a camera may ask for; a longer rest is a mistake
_PIECE_BYTES = 65_536
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_ASKED_AS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A picture, or word that it is the one before.

    Attributes:
        content: its bytes; None: it has not changed.
        validators: headers to ask with whether it has changed.
    """

    content: bytes | None
    validators: dict[str, str]


class Endless(CameraError):
    """An answer that does not say where it ends, and not that it is a picture: a stream."""


class NotNow(Exception):
    """The server asks to be left alone for `after_s` seconds."""

    def __init__(self, status: int, after_s: float) -> None:
        super().__init__(f"asks to be left alone for {after_s:.0f} s (HTTP {status})")
        self.after_s = after_s


class Refused(Exception):
    """The server wants other credentials; `digest`: by RFC 7616."""

    def __init__(self, status: int, *, digest: bool) -> None:
        super().__init__(f"HTTP {status} {HTTPStatus(status).phrase}")
        self.digest = digest


def parted(source: str) -> tuple[str, tuple[str, str] | None]:
    """The address without credentials, and user and password where there are any."""
    url, credentials = without_credentials(lower_scheme(source))
    user, _, password = credentials.partition(":")
    return url, (unquote(user), unquote(password)) if credentials else None


def fetch(
    session: requests.Session, url: str, *, spec: CameraSpec, headers: dict[str, str], verify: bool | str
) -> Answer:
    """GET one picture.

    Args:
        session: keeps the connection.
        url: without credentials.
        spec: whose time-outs count.
        headers: of the answer before.
        verify: the server's certificate: by a file of authorities, or not at all.

    Raises:
        NotNow: later.
        Refused: not without other credentials.
        CameraError: no answer, none of its pieces in time, or one that is no picture.
    """
    where, timeout_s = spec.shown_source, spec.read_timeout_s
    until_s = time.monotonic() + timeout_s
    try:
        with session.get(url, headers=headers, timeout=timeout_s, verify=verify, stream=True) as response:
            _require_picture(response, where)
            given = response.headers
            validators = {asked: given[name] for name, asked in _ASKED_AS.items() if name in given}
            if response.status_code == HTTPStatus.NOT_MODIFIED:
                return Answer(None, validators or headers)
            return Answer(_content(response, where, until_s), validators)
    except requests.Timeout as exc:
        raise OpenError(f"{where}: no answer within {timeout_s:g} s") from exc
    except requests.exceptions.SSLError as exc:
        led = "" if scheme_of(spec.source) == "https" else "it leads to an https address, "
        remedy = REMEDY if not led else "write that address as source"
        raise OpenError(f"{where}: {led}its certificate is not accepted: {_words(exc)}", remedy=remedy) from exc
    except (requests.RequestException, ValueError) as exc:  # ValueError: an address that is none
        if isinstance(_innermost(exc), TimeoutError):
            raise OpenError(f"{where}: no answer within {timeout_s:g} s") from exc
        raise OpenError(f"{where}: {_words(exc)}") from exc


def _require_picture(response: requests.Response, where: str) -> None:
    status = response.status_code
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise Refused(status, digest="digest" in response.headers.get("WWW-Authenticate", "").lower())
    if status in _BUSY and "Retry-After" in response.headers:
        raise NotNow(status, rest_s(response.headers["Retry-After"]))
    if status not in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}:
        raise CameraError(f"{where}: HTTP {status} {response.reason}")
    kind = response.headers.get("Content-Type", "")
    ends = "Content-Length" in response.headers or status == HTTPStatus.NOT_MODIFIED
    if not ends and not kind.startswith("image/"):
        raise Endless(f"{where}: expected a picture, got an answer without an end")
    if kind.startswith(("text/", "multipart/")):
        raise CameraError(f"{where}: expected a picture, got {kind}")


def _content(response: requests.Response, where: str, until_s: float) -> bytes:
    pieces, size = [], 0
    for piece in response.iter_content(_PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_FILE_BYTES:
            raise CameraError(f"{where}: a picture of more than {MAX_FILE_BYTES} bytes")
        if time.monotonic() > until_s:
            raise requests.Timeout
    return b"".join(pieces)


def rest_s(header: str) -> float:
    """Seconds that a `Retry-After` asks for, 1 to `MAX_REST_S`; it names seconds, or a date (RFC 9110, 10.2.3)."""
    try:
        seconds = float(header) if header.strip().isdecimal() else _until(header)
    except (TypeError, ValueError):  # neither
        seconds = 1.0
    return min(max(seconds, 1.0), MAX_REST_S)


def _until(date: str) -> float:
    return (parsedate_to_datetime(date) - datetime.now(timezone.utc)).total_seconds()


def _innermost(exc: BaseException) -> Any:  # noqa: ANN401 - any exception, with attributes of its own
    """The exception at the bottom of a chain; those above quote the whole address."""
    found: Any = exc
    while (below := getattr(found, "reason", None) or found.__cause__ or found.__context__) is not None:
        if isinstance(below, str):
            break
        found = below
    return found


def _words(exc: BaseException) -> str:
    """The system's or TLS's own words for what went wrong."""
    found = _innermost(exc)
    words = getattr(found, "verify_message", "") or getattr(found, "strerror", "") or type(found).__name__
    return str(words)
