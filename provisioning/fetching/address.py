"""HTTP requests for addresses with a user name and a password in them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request


def request_to(url: str, headers: Mapping[str, str]) -> Request:
    """A request for `url`. The user name and password before the @ go into the `Authorization` header (RFC 7617).

    urllib would read them as a part of the host name. They are not sent to another server after a redirection.
    """
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=host)), headers=dict(headers))  # noqa: S310 - the caller's scheme
    if credentials:
        user, _, password = credentials.partition(":")
        encoded = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {encoded}")
    return request
