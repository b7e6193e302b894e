"""Runs the page: the link to the daemon, the web server, an ordered stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from edged.assembly.options import mqtt_options
from edged.core.errors import ConfigError, Unreachable
from edged.health import notify_systemd
from edged.view.answers import Answers
from edged.view.book import EventBook
from edged.view.fleet import Fleet
from edged.view.guard import Guard
from edged.view.hub import Hub
from edged.view.link import Link
from edged.view.options import Listen, ViewSettings
from edged.view.pictures import PictureDesk
from edged.view.server import Server
from edged.view.viewers import Viewers

KEEP_ALIVE_S = 30.0
STOP_S = 1.0
MOST_LINE = 4096  # bytes of a request's first line, and of a header

logger = logging.getLogger(__name__)
# It logs a traceback for each request that is no HTTP; what fails here is logged by `server.py`.
logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL + 1)


def run_view(settings: ViewSettings, *, socket: Callable[[], Path] | None, fleet: bool) -> int:
    """Serve the page until SIGTERM or SIGINT.

    Args:
        settings: as configured.
        socket: gives the feed's; None where only a fleet is looked at.
        fleet: listen to `[mqtt]` for other boxes.

    Raises:
        ConfigError: the address, a file of TLS or the file of events cannot be used.
    """
    return asyncio.run(_serve(settings, socket, fleet=fleet))


async def _serve(settings: ViewSettings, socket: Callable[[], Path] | None, *, fleet: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as resources:
        book = EventBook(settings.events.file)
        resources.callback(book.close)
        viewers = Viewers()
        link = Link(socket or Path)
        desk = PictureDesk(link.ask_picture)
        hub = Hub(book=book, desk=desk, viewers=viewers, listens=socket is not None)
        others = _fleet(settings, viewers) if fleet else None
        if others is not None:
            others.start()
            resources.callback(others.stop)
        answers = Answers(hub=hub, book=book, desk=desk, viewers=viewers, link=link, fleet=others)
        guard = Guard(token=settings.listen.token.get_secret_value(), hosts=settings.listen.hosts)
        server = Server(answers, guard, secure=settings.listen.encrypts, proxied=settings.listen.proxy)
        address = await _listen(settings.listen, server.application(), resources)
        if socket is not None:
            task = asyncio.create_task(link.run(on_message=hub.take, on_lost=hub.lost))
            resources.callback(task.cancel)
        notify_systemd("READY=1", f"STATUS={address}")
        logger.info("the page is at %s", address)
        await stop.wait()
        notify_systemd("STOPPING=1")
    return 0


def _fleet(settings: ViewSettings, viewers: Viewers) -> Fleet:
    """What listens to the broker.

    Raises:
        ConfigError: TLS files cannot be used, or the broker has none of the topics that tell boxes apart.
    """
    if settings.mqtt.topic:
        raise ConfigError("[mqtt] topic: --fleet reads edged's own topics", remedy="remove it, and name their prefix")
    return Fleet(
        mqtt_options(settings.mqtt), prefix=settings.mqtt.prefix, on_change=lambda known: viewers.say("fleet", known)
    )


async def _listen(listen: Listen, application: web.Application, resources: AsyncExitStack) -> str:
    """Open the port; returns the page's address."""
    runner = web.AppRunner(
        application,
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=STOP_S,
        max_line_size=MOST_LINE,
        max_field_size=MOST_LINE,
    )
    await runner.setup()
    resources.push_async_callback(runner.cleanup)
    try:
        site = web.TCPSite(runner, listen.address, listen.port, ssl_context=_tls(listen), reuse_address=True)
        await site.start()
    except OSError as exc:
        problem = f"[listen] {listen.address}:{listen.port}: {exc.strerror or exc}"
        if exc.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:  # that may change by itself
            raise Unreachable(problem, remedy="choose another port, or end what listens there") from exc
        raise ConfigError(problem, remedy="choose another") from exc
    port = runner.addresses[0][1]
    host = f"[{listen.address}]" if ":" in listen.address else listen.address
    return f"http{'s' * (listen.cert_file is not None)}://{host}:{port}/"


def _tls(listen: Listen) -> ssl.SSLContext | None:
    if listen.cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(listen.cert_file, listen.key_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"[listen] cert_file {listen.cert_file}, key_file {listen.key_file}: {exc}") from exc
    return context
