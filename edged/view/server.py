"""The page's web server: every request passes the guard, then one of a fixed set of answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from aiohttp import web

from edged.view.answers import STILL_ALLOWED, Answers
from edged.view.guard import COOKIE, HEADERS, SESSION_S, Guard
from edged.view.pages import LOGIN, PAGE, page_files

MOST_BODY = 4096  # bytes
BODY_S = 5.0
OPEN_TO_ALL = {"/healthz", "/readyz", "/login", "/login.css"}
_SAFE = {"GET", "HEAD"}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)


class Server:
    """Makes the application.

    Args:
        answers: to what is asked.
        guard: decides who may ask.
        secure: browsers speak TLS: cookies go over nothing else.
        proxied: a proxy says in `X-Forwarded-For` who asks.
    """

    def __init__(self, answers: Answers, guard: Guard, *, secure: bool, proxied: bool) -> None:
        self._answers, self._guard, self._secure, self._proxied = answers, guard, secure, proxied
        self._files = page_files()

    def application(self) -> web.Application:
        """The application of aiohttp."""
        answers = self._answers
        application = web.Application(middlewares=[self._watch], client_max_size=MOST_BODY)
        application.add_routes(
            [
                web.get("/", self._file),
                web.get("/login", self._login_page),
                web.post("/login", self._login),
                web.post("/logout", self._logout),
                web.get("/healthz", answers.alive),
                web.get("/readyz", answers.ready),
                web.get("/metrics", answers.metrics),
                web.get("/api/now", answers.now),
                web.get("/api/stream", answers.stream),
                web.get("/api/events", answers.events),
                web.get("/api/events/{event}", answers.story),
                web.get("/api/events/{event}/snapshot", answers.snapshot),
                web.get("/api/cameras/{camera}/picture", answers.picture),
                web.get("/api/cameras/{camera}/picture.jpg", answers.jpeg),
                web.get("/api/fleet", answers.fleet),
                web.get("/{name}", self._file),
            ]
        )
        application.on_response_prepare.append(self._add_headers)
        return application

    @web.middleware
    async def _watch(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if not self._guard.knows_host(request.headers.get("Host", "")):
            return _said(421, "this page is not reached by that name; [listen] hosts says which names it has")
        if not self._is_own(request):
            return _said(403, "asked by another site")
        if self._guard.asks and request.path not in OPEN_TO_ALL and not self._is_known(request):
            return self._turned_away(request)
        session = request.cookies.get(COOKIE, "")
        if self._guard.asks and self._guard.has_session(session):
            request[STILL_ALLOWED] = lambda: self._guard.has_session(session)
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            logger.exception("a defect of edged itself; please report it")
            return _said(500, "this cannot be answered; the log of edged view says why")

    def _address(self, request: web.Request) -> str:
        """Who asks."""
        forwarded = request.headers.get("X-Forwarded-For", "") if self._proxied else ""
        return forwarded.rpartition(",")[2].strip() or request.remote or ""

    def _is_own(self, request: web.Request) -> bool:
        """Whether a browser asks for this page's sake; other programs send neither of these headers."""
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "")
        if origin is not None and not self._guard.is_own_origin(origin, request.headers.get("Host", "")):
            return False
        comes_by_link = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in _SAFE
        return comes_by_link or site in {"", "same-origin", "none"}

    def _is_known(self, request: web.Request) -> bool:
        if self._guard.has_session(request.cookies.get(COOKIE, "")):
            return True
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or self._guard.is_blocked(self._address(request)):
            return False
        return self._guard.accepts(token.strip(), self._address(request))

    def _turned_away(self, request: web.Request) -> web.Response:
        if self._guard.is_blocked(self._address(request)):
            return _said(429, "too many wrong tokens; wait a minute", {"Retry-After": "60"})
        if request.path == "/":
            return web.Response(status=303, headers={"Location": "/login"})
        return _said(401, "a token is needed", {"WWW-Authenticate": "Bearer"})

    async def _login_page(self, _request: web.Request) -> web.Response:
        return web.Response(body=LOGIN.replace(b"{problem}", b""), content_type="text/html", charset="utf-8")

    async def _login(self, request: web.Request) -> web.Response:
        address = self._address(request)
        if self._guard.is_blocked(address):
            return _said(429, "too many wrong tokens; wait a minute", {"Retry-After": "60"})
        try:
            body = await asyncio.wait_for(request.read(), BODY_S)
        except asyncio.TimeoutError:
            return _said(408, "the form did not come")
        token = parse_qs(body.decode("ascii", "replace")).get("token", [""])[0]
        if not self._guard.accepts(token.strip(), address):
            page = LOGIN.replace(b"{problem}", b"That is not the token.")
            return web.Response(status=401, body=page, content_type="text/html", charset="utf-8")
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(
            COOKIE,
            self._guard.new_session(),
            max_age=int(SESSION_S),
            httponly=True,
            samesite="Strict",
            secure=self._secure,
        )
        return answer

    async def _logout(self, request: web.Request) -> web.Response:
        self._guard.end_session(request.cookies.get(COOKIE, ""))
        answer = web.Response(status=303, headers={"Location": "/login" if self._guard.asks else "/"})
        answer.del_cookie(COOKIE)
        return answer

    async def _file(self, request: web.Request) -> web.Response:
        """A file of the page, by a name that is known from the start; never a path."""
        found = self._files.get(request.match_info.get("name", PAGE))
        if found is None:
            return _said(404, "there is no such page")
        if request.headers.get("If-None-Match") == found.tag:
            return web.Response(status=304, headers={"ETag": found.tag, "Cache-Control": "no-cache"})
        return web.Response(
            body=found.content,
            content_type=found.kind,
            charset=None if found.kind.startswith("image/") else "utf-8",
            headers={"ETag": found.tag, "Cache-Control": "no-cache"},
        )

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.pop("Server", None)
        if request.path.startswith("/api/"):
            response.headers["X-Robots-Tag"] = "noindex"


def _said(status: int, what: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=what + "\n", headers=headers)
