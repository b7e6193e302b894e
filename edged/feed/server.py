"""Serves the feed: one thread owns every connection, so a client that is slow or hostile costs nobody else anything."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edged.feed.allowance import Allowance
from edged.feed.answers import Answers
from edged.feed.client import Client, Gone
from edged.feed.pictures import Pictures
from edged.feed.wire import packed

MOST_CLIENTS = 16
MOST_LATER = 256  # droppable messages that wait to be encoded
PAUSE_S = 0.1  # between two pictures of one camera, however many ask
SNAPSHOTS = 4  # stored pictures that are read for a client between looking after the others
FULL_S = 1.0  # without a descriptor left nobody is accepted for so long
LAST_S = 0.2  # for what waits to be sent when the feed ends
TOLD = packed({"kind": "told"})  # ends what is kept; what follows is news
_IDLE_S = 5.0
_SOON_S = 0.02

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """Something that the daemon says.

    Attributes:
        encode: makes the message, in the feed's thread.
        key: it replaces what was said under this key, and is said again to whoever connects; empty: it passes.
        ends: nothing is kept under `key` from now on.
        may_be_missed: a slow client does without.
    """

    encode: Callable[[], bytes]
    key: tuple[str, ...] = ()
    ends: bool = False
    may_be_missed: bool = False


class FeedServer:
    """Accepts clients, tells each what is kept and then all that is said, and answers what they ask.

    Args:
        listener: a listening socket; closed by `close`.
        pictures: takes frames that are asked for.
        answers: makes answers.
        knows: whether there is a camera of that name.
    """

    def __init__(
        self, listener: socket.socket, *, pictures: Pictures, answers: Answers, knows: Callable[[str], bool]
    ) -> None:
        self._listener, self._pictures, self._answers, self._knows = listener, pictures, answers, knows
        self._inbox: deque[Said] = deque()
        self._kept: dict[tuple[str, ...], bytes] = {}
        self._clients: dict[socket.socket, Client] = {}
        self._next_s: dict[str, float] = {}  # when a camera's next picture may be taken
        self._full_until_s = 0.0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._closing = threading.Event()
        self._over = False  # the thread has ended: nothing is taken any more
        self.allowance = Allowance()
        self.missed = 0
        listener.settimeout(0)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        pictures.on_taken = self.wake
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin to serve; what was said before is kept for the first client."""
        self._thread.start()

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    def say(self, said: Said) -> None:
        """Tell all clients, in order. Any thread may call it; it never blocks."""
        if self._over:
            return
        if said.may_be_missed and len(self._inbox) >= MOST_LATER:
            self.missed += 1
            return
        self._inbox.append(said)
        self.wake()

    def wake(self) -> None:
        """Have the thread look at what came."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Send what waits, for a moment, and end; safe to call twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(2 * LAST_S)

    def _run(self) -> None:
        try:
            self._guarded(self._pass_on)  # what was said before belongs to whoever waits at the door
            while not self._closing.is_set():
                self._guarded(self._turn)
            self._guarded(self._say_last)
        finally:
            self._over = True
            self._inbox.clear()
            for client in list(self._clients.values()):
                self._drop(client, "the daemon ends")
            self._selector.close()
            with contextlib.suppress(OSError):  # removed by somebody, or never bound to a path
                os.unlink(self._listener.getsockname())
            self._listener.close()

    def _guarded(self, act: Callable[[], None]) -> None:
        """A defect here must cost the daemon nothing: every client is let go, and may come again."""
        try:
            act()
        except Exception:
            logger.exception("the feed failed; its clients are dropped")
            for client in list(self._clients.values()):
                self._drop(client, "the feed failed")
            time.sleep(PAUSE_S)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._take_pictures()):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj == self._wake:
                os.eventfd_read(self._wake)
            elif client := self._clients.get(key.fileobj):  # type: ignore[call-overload]
                self._for(client, self._hear)
        self._pass_on()
        self._hand_out()
        for client in list(self._clients.values()):
            self._for(client, self._serve)

    def _for(self, client: Client, act: Callable[[Client], None]) -> None:
        """Do something for one client; whatever fails there costs only that client."""
        try:
            act(client)
        except Gone as exc:
            self._drop(client, str(exc))
        except Exception:
            logger.exception("a client of the feed cannot be served")
            self._drop(client, "it cannot be served")

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as exc:  # it is gone already, or there is no descriptor left
            if exc.errno in {errno.EMFILE, errno.ENFILE}:
                self._full_until_s = time.monotonic() + FULL_S
                self._selector.unregister(self._listener)
            return
        if len(self._clients) >= MOST_CLIENTS:
            connection.close()
            return
        connection.settimeout(0)
        client = self._clients[connection] = Client(connection)
        self._selector.register(connection, selectors.EVENT_READ)
        self._for(client, self._greet)

    def _greet(self, client: Client) -> None:
        for message in (*self._kept.values(), TOLD):
            client.say(message)

    def _hear(self, client: Client) -> None:
        for message in client.receive():
            camera, side = message.get("camera"), message.get("side")
            if message["kind"] == "picture" and isinstance(camera, str) and isinstance(side, int):
                if self._knows(camera):
                    client.asked[camera] = side
                else:
                    client.say(packed({"kind": "picture", "camera": camera, "problem": "there is no such camera"}))
            elif message["kind"] == "snapshot":
                client.wants(message)
            else:
                raise Gone(f"it asks for {str(message['kind'])[:20]!r}, which is not known")

    def _serve(self, client: Client) -> None:
        """Answer some of its questions, and send what its socket takes."""
        for question in client.wanted(SNAPSHOTS):
            client.say(self._answers.snapshot(question))
        client.send()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.has_more else 0)
        if self._selector.get_key(client.connection).events != events:
            self._selector.modify(client.connection, events)

    def _take_pictures(self) -> float:
        """Ask for the pictures that are due; returns the seconds until there may be something to do."""
        now_s, wait_s = time.monotonic(), _IDLE_S
        if self._full_until_s:
            wait_s = self._full_until_s - now_s
            if wait_s <= 0:
                self._full_until_s, wait_s = 0.0, _IDLE_S
                self._selector.register(self._listener, selectors.EVENT_READ)
        allowed_s = self.allowance.wait_s
        for camera in {camera for client in self._clients.values() for camera in client.asked}:
            due_s = max(self._next_s.get(camera, 0.0) - now_s, allowed_s)
            if due_s <= 0:
                self._pictures.want(camera)
            else:
                wait_s = min(wait_s, due_s)
        if any(client.has_questions for client in self._clients.values()):
            return 0.0
        return max(wait_s, _SOON_S)

    def _hand_out(self) -> None:
        """Give each picture that was taken to all who asked for that camera; it is encoded once."""
        while taken := self._pictures.take():
            waiting = [client for client in self._clients.values() if taken.camera in client.asked]
            self._next_s[taken.camera] = time.monotonic() + PAUSE_S
            if not waiting:
                continue
            before_s = time.thread_time()
            side = max(client.asked.pop(taken.camera) for client in waiting)
            message = self._answers.picture(taken, most_side=side, seldom=self.allowance.is_small)
            self.allowance.spend(time.thread_time() - before_s)
            for client in waiting:
                self._for(client, lambda one: one.say(message))  # noqa: B023 - called at once

    def _pass_on(self) -> None:
        while self._inbox:
            said = self._inbox.popleft()
            try:
                message = said.encode()
            except (TypeError, ValueError) as exc:  # a box that is no number: MQTT counts it as `invalid`
                self.missed += 1
                logger.debug("a message cannot be said on the feed: %s", exc)
                continue
            if said.key and said.ends:
                self._kept.pop(said.key, None)
            elif said.key:
                self._kept[said.key] = message
            missed = said.may_be_missed
            for client in list(self._clients.values()):
                self._for(client, lambda one: one.say(message, may_be_missed=missed))  # noqa: B023 - called at once

    def _say_last(self) -> None:
        until_s = time.monotonic() + LAST_S
        self._pass_on()
        while time.monotonic() < until_s:
            for client in list(self._clients.values()):
                self._for(client, Client.send)
            if not any(client.has_more for client in self._clients.values()):
                return
            time.sleep(_SOON_S)

    def _drop(self, client: Client, why: str) -> None:
        if self._clients.pop(client.connection, None) is None:
            return
        logger.debug("a client of the feed is gone: %s", why)
        for camera in client.asked:
            if not any(camera in other.asked for other in self._clients.values()):
                self._pictures.unwant(camera)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.connection)
        client.close()

    def forget(self, camera: str) -> None:
        """The camera is not there any more: whoever asked for it is told so. Any thread may call it."""

        def tell() -> bytes:
            for client in self._clients.values():
                client.asked.pop(camera, None)
            self._next_s.pop(camera, None)
            return packed({"kind": "picture", "camera": camera, "problem": "there is no such camera"})

        self.say(Said(tell))
