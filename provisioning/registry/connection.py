"""HTTP to a registry: TLS, passwords and tokens, and a plain message for everything that goes wrong."""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from edged.core.errors import ConfigError, DataError, EdgedError, Unreachable
from edged.core.redact import redact
from edged.core.secrets import remember
from provisioning.registry.credentials import read_credentials
from provisioning.registry.reference import Reference

TIMEOUT_S = 30.0
_MOST_TOKEN_BYTES = 1 << 20
_PARAMETER = re.compile(r'([a-z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Access:
    """How a registry is reached.

    Attributes:
        plain_http: without TLS, which anybody on the way can read and change.
        ca_file: certificates (PEM) to trust beside those of the system; None for none.
        credentials: file in the form of docker's `config.json`; None for the usual places.
    """

    plain_http: bool = False
    ca_file: Path | None = None
    credentials: Path | None = None


class NotThere(DataError):
    """The registry answers that it has no such thing."""


class PastEnd(Unreachable):
    """The registry holds less of a file than is here already."""


class _Redirects(HTTPRedirectHandler):
    """Follows redirections of downloads, but never from https to http."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise DataError(f"{redact(req.full_url)} was redirected to plain http, {redact(newurl)}; refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Connection:
    """Requests to one repository of a registry.

    A password is sent only after the registry has asked for it, and never to another host by a redirection.

    Raises:
        ConfigError: on creation: `ca_file` or the credentials cannot be used.
    """

    def __init__(self, reference: Reference, access: Access, *, writes: bool = False) -> None:
        self.reference = reference
        self._access = access
        self._base = f"{'http' if access.plain_http else 'https'}://{reference.host}"
        self._scope = f"repository:{reference.name}:{'pull,push' if writes else 'pull'}"
        self._user_password = read_credentials(reference.host, access.credentials)
        self._authorization = ""
        self._opener = build_opener(HTTPSHandler(context=_context(access.ca_file)), _Redirects())

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Path | None = None,
        content_type: str = "application/octet-stream",
    ) -> HTTPResponse:
        """Send a request and return the answer, of a status below 300; close it.

        Args:
            method: of HTTP.
            path: below the repository, e.g. `manifests/1`, or an address that the registry gave.
            headers: to add.
            body: content, or the file that holds it.
            content_type: of the body.

        Raises:
            NotThere: 404.
            ConfigError: the registry wants a password, or refuses this one.
            Unreachable: no answer, not by TLS, or a failure of the registry.
            EdgedError: any other refusal.
        """
        url = urljoin(f"{self._base}/v2/{self.reference.name}/", path)
        self._require_safe(url)
        try:
            return self._once(method, url, headers or {}, body, content_type)
        except HTTPError as exc:
            with exc:
                # Another host, to which the registry led, gets no password by asking for one.
                challenge = exc.headers.get("WWW-Authenticate", "") if self._is_registry(exc.url) else ""
                if exc.code != HTTPStatus.UNAUTHORIZED or not self._authorize(challenge):
                    raise self._refused(exc) from exc
        try:
            return self._once(method, url, headers or {}, body, content_type)
        except HTTPError as exc:
            with exc:
                raise self._refused(exc) from exc

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Path | None, content_type: str
    ) -> HTTPResponse:
        request = Request(url, method=method, headers={"User-Agent": "edged-provision", **headers})  # noqa: S310
        if self._authorization and self._is_registry(url):
            request.add_unredirected_header("Authorization", self._authorization)
        if body is None:
            return self._opened(request)
        request.add_header("Content-Type", content_type)
        if isinstance(body, bytes):
            request.data = body
            return self._opened(request)
        request.add_header("Content-Length", str(body.stat().st_size))
        with body.open("rb") as file:
            request.data = file
            return self._opened(request)

    def _opened(self, request: Request) -> HTTPResponse:
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=TIMEOUT_S)
        except HTTPError:
            raise
        except (URLError, HTTPException, OSError) as exc:
            raise self._unreachable(exc) from exc
        return answer

    def _unreachable(self, exc: Exception) -> EdgedError:
        reason = exc.reason if isinstance(exc, URLError) else exc
        said = f"registry {self.reference.host} cannot be reached: {reason or type(exc).__name__}"
        if isinstance(reason, ssl.SSLCertVerificationError):
            return ConfigError(said, remedy="name the authority that signed its certificate: ca_file (--ca-file)")
        if isinstance(reason, ssl.SSLError):
            return Unreachable(
                said,
                remedy="if it has no TLS: give it a certificate, or say plain_http = true (--plain-http), by which "
                "anybody on the way reads the password and the bundle",
            )
        return Unreachable(said, remedy="check its name and the network; the active bundle is as it was")

    def _refused(self, exc: HTTPError, *, token: bool = False) -> EdgedError:
        what = f"registry {self.reference.host} answered {exc.code} {exc.reason} to {self.reference.repository}"
        if not token and not self._is_registry(exc.url) and exc.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            other = f"{urlsplit(exc.url).hostname}, to which registry {self.reference.host} leads,"
            return Unreachable(f"{other} answered {exc.code} {exc.reason}", remedy="try again later")
        if exc.code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            had = "refuses the password" if self._user_password else "wants a password"
            return ConfigError(
                f"{what}: it {had}", remedy="give a file like docker's config.json: credentials (--credentials)"
            )
        if exc.code == HTTPStatus.NOT_FOUND:
            return NotThere(what, remedy="check the name and the tag")
        if exc.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return PastEnd(what, remedy="its copy is shorter than it says: push it again")
        if exc.code >= HTTPStatus.INTERNAL_SERVER_ERROR or exc.code == HTTPStatus.TOO_MANY_REQUESTS:
            return Unreachable(what, remedy="try again later")
        return EdgedError(what)

    def _is_registry(self, url: str) -> bool:
        return _place(url) == _place(self._base)

    def _require_safe(self, url: str) -> None:
        if not self._access.plain_http and urlsplit(url).scheme != "https":
            raise DataError(f"registry {self.reference.host} leads to plain http, {redact(url)}; refused")

    def _authorize(self, challenge: str) -> bool:
        """Answer a challenge (RFC 7235). Returns whether it is worth to ask again."""
        kind, _, rest = challenge.partition(" ")
        before = self._authorization
        if kind.lower() == "bearer":
            self._authorization = f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"
        elif kind.lower() == "basic" and self._user_password:
            self._authorization = self._basic()
        return bool(self._authorization) and self._authorization != before

    def _basic(self) -> str:
        return f"Basic {base64.b64encode(':'.join(self._user_password or ()).encode()).decode()}"

    def _token(self, challenge: Mapping[str, str]) -> str:
        """Fetch a token from where the registry says, with the password if there is one."""
        realm = challenge.get("realm", "")
        self._require_safe(realm)
        wanted = {"service": challenge.get("service", ""), "scope": challenge.get("scope", "") or self._scope}
        request = Request(f"{realm}?{urlencode({key: text for key, text in wanted.items() if text})}")  # noqa: S310
        if self._user_password:
            request.add_unredirected_header("Authorization", self._basic())
        try:
            with self._opened(request) as answer:
                said = json.loads(answer.read(_MOST_TOKEN_BYTES))
            token = said.get("token") or said["access_token"]
        except HTTPError as exc:
            with exc:
                raise self._refused(exc, token=True) from exc
        except (ValueError, KeyError, AttributeError, OSError, HTTPException) as exc:
            raise Unreachable(f"{redact(realm)} gave no token for {self.reference.host}") from exc
        remember([str(token)])
        return str(token)


def _place(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port, however they are spelt."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname or "", port or {"https": 443, "http": 80}.get(parts.scheme)


def _context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"ca_file {ca_file} cannot be used: {exc.strerror or exc}", remedy="give a PEM") from exc
    return context
