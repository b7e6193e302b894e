"""Requests to addresses that hold a user and a password: sent as HTTP means it, and to nobody else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request


def request_to(url: str, headers: Mapping[str, str]) -> Request:
    """A request for `url`; what stands before the @ of its host goes into the header `Authorization` (RFC 7617).

    urllib would take it for a part of the host's name. A redirection does not carry it to another server.
    """
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=host)), headers=dict(headers))  # noqa: S310 - the caller's scheme
    if credentials:
        user, _, password = credentials.partition(":")
        encoded = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {encoded}")
    return request
