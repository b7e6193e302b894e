"""The answers of the page's server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from edged.core.names import is_name
from edged.core.ulid import is_ulid
from edged.feed.wire import Message
from edged.view.book import EventBook, Wanted
from edged.view.fleet import Fleet
from edged.view.hub import Hub
from edged.view.link import Link
from edged.view.metrics import CONTENT_TYPE, Metrics
from edged.view.pictures import SIDES, PictureDesk, Shown, TooManyWait
from edged.view.viewers import TooMany, Viewer, Viewers, as_event

PICTURE_S = 10.0  # a question for a picture is answered by then, with or without one
HEARTBEAT_S = 10.0
BEAT = as_event("beat", {})
STILL_ALLOWED = "edged.still_allowed"  # of a request: whether its session goes on
MOST_LISTED = 500
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


class Answers:
    """One method a route.

    Args:
        hub, book, desk, viewers, link: what is known, and where more is asked.
        fleet: other boxes; None where nobody listens for them.
    """

    def __init__(
        self, *, hub: Hub, book: EventBook, desk: PictureDesk, viewers: Viewers, link: Link, fleet: Fleet | None
    ) -> None:
        self._hub, self._book, self._desk, self._viewers, self._link = hub, book, desk, viewers, link
        self._fleet = fleet
        self._metrics = Metrics(hub)

    async def alive(self, _request: web.Request) -> web.Response:
        """This program works."""
        return web.Response(text="alive\n")

    async def ready(self, _request: web.Request) -> web.Response:
        """The daemon is there, too."""
        if self._hub.ready or (self._fleet is not None and self._fleet.connected and not self._hub.listens):
            return web.Response(text="ready\n")
        return web.Response(status=503, text="no daemon\n")

    async def metrics(self, _request: web.Request) -> web.Response:
        """What Prometheus reads."""
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def now(self, request: web.Request) -> web.Response:
        """Everything that holds now."""
        return _json(self._now(request))

    def _now(self, request: web.Request) -> Message:
        """Everything that holds now, and whether whoever asks can log out."""
        return {**self._hub.now(), "session": STILL_ALLOWED in request}

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Everything that holds, then everything that is said, as server-sent events, until the page is closed."""
        still_allowed: Callable[[], bool] = request.get(STILL_ALLOWED, lambda: True)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        try:
            with self._viewers.joined() as viewer:
                await answer.prepare(request)
                viewer.say(as_event("now", self._now(request)))
                if self._fleet is not None:
                    viewer.say(as_event("fleet", self._fleet.now()))
                while (message := await _next_of(viewer)) is not None and still_allowed():
                    await answer.write(message)
        except TooMany:
            return web.Response(status=503, text="too many pages are open\n")
        except ConnectionResetError:
            pass
        return answer

    async def events(self, request: web.Request) -> web.Response:
        """The latest message of each event that is wanted, newest first."""
        query = request.query
        names = {key: query.get(key, "") for key in ("camera", "zone")}
        moments = {key: query.get(key, "") for key in ("since", "until")}
        limit = query.get("limit", "100")
        if any(name and not is_name(name) for name in names.values()):
            return _refused("camera and zone are names of a-z, 0-9, _ and -")
        if any(moment and not _MOMENT.fullmatch(moment) for moment in moments.values()):
            return _refused("since and until are moments such as 2026-03-01T12:00:00Z")
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 5 and 1 <= int(limit) <= MOST_LISTED):  # noqa: PLR2004
            return _refused(f"limit is 1 to {MOST_LISTED}")
        exact = {key: _to_the_microsecond(moment) for key, moment in moments.items()}
        wanted = Wanted(**names, **exact, label=query.get("label", "")[:200], limit=int(limit))
        return _json({"events": self._book.find(wanted), "labels": self._book.labels()})

    async def story(self, request: web.Request) -> web.Response:
        """All messages of one event."""
        event = request.match_info["event"]
        messages = self._book.story(event) if is_ulid(event) else []
        return _json({"messages": messages}) if messages else web.Response(status=404, text="no such event\n")

    async def snapshot(self, request: web.Request) -> web.Response:
        """The stored picture of an event."""
        event = request.match_info["event"]
        if not is_ulid(event):
            return web.Response(status=404, text="no such event\n")
        jpeg = await self._link.snapshot(event, clean=request.query.get("clean") == "1")
        if jpeg is None:
            return web.Response(status=404, text="there is no picture\n")
        # Its address names the version, so that what was seen need not be asked again.
        kept = "private, max-age=86400, immutable" if "v" in request.query else "no-store"
        return web.Response(body=jpeg, content_type="image/jpeg", headers={"Cache-Control": kept})

    async def picture(self, request: web.Request) -> web.Response:
        """The next picture of a camera with what was found in it; 204 where none comes."""
        shown = await self._next(request)
        if isinstance(shown, web.Response):
            return shown
        return web.Response(body=shown.body, content_type="application/octet-stream")

    async def jpeg(self, request: web.Request) -> web.Response:
        """The next picture of a camera alone."""
        shown = await self._next(request)
        if isinstance(shown, web.Response):
            return shown
        return web.Response(body=shown.jpeg, content_type="image/jpeg")

    async def _next(self, request: web.Request) -> Shown | web.Response:
        """A picture, or why there is none."""
        camera, query = request.match_info["camera"], request.query
        side, after = query.get("side", "960"), query.get("after", "")
        if not any(each["camera"] == camera for each in self._hub.cameras):
            return web.Response(status=404, text="no such camera\n")
        if not (side.isascii() and side.isdecimal() and len(side) < 5) or not (after[:12] or "0").isdecimal():  # noqa: PLR2004
            return _refused(f"side is a number up to {SIDES[-1]}, after the sequence of a frame")
        seen = int(after[:12]) if after else None
        try:
            shown = await self._desk.next(camera, side=int(side), after=seen, timeout_s=PICTURE_S)
        except TooManyWait:
            return web.Response(status=503, text="too many wait for pictures\n", headers={"Retry-After": "2"})
        return shown or web.Response(status=204)

    async def fleet(self, _request: web.Request) -> web.Response:
        """What other boxes say over MQTT."""
        if self._fleet is None:
            return web.Response(status=404, text="no fleet; start with --fleet\n")
        return _json(self._fleet.now())


async def _next_of(viewer: Viewer) -> bytes | None:
    """What is said next, or after a while that the connection lives; None: the page is too far behind."""
    try:
        return await asyncio.wait_for(viewer.waiting.get(), HEARTBEAT_S)
    except asyncio.TimeoutError:
        return BEAT


def _json(content: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")


def _to_the_microsecond(moment: str) -> str:
    """As the messages write it, so that text is in order of time; empty stays empty."""
    if not moment:
        return ""
    seconds, _, fraction = moment.rstrip("Z").partition(".")
    return f"{seconds}.{fraction:0<6}Z"


def _refused(why: str) -> web.Response:
    return web.Response(status=400, text=why + "\n")
