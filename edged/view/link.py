"""The connection to the daemon's feed: kept up, and asked for pictures and snapshots."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from edged.core.errors import DataError, EdgedError
from edged.feed.wire import PROTOCOL, Message, Unpacker, packed

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0
SNAPSHOT_S = 5.0
_CHUNK = 1 << 18

logger = logging.getLogger(__name__)


class Link:
    """Connects, reads, connects again.

    Args:
        path: gives the feed's socket; asked before every try, for the daemon may come to be somewhere else.
    """

    def __init__(self, path: Callable[[], Path]) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._snapshots: defaultdict[tuple[str, bool], list[asyncio.Future[bytes | None]]] = defaultdict(list)

    async def run(self, *, on_message: Callable[[Message, bytes], None], on_lost: Callable[[], None]) -> None:
        """Keep the connection up until cancelled.

        Args:
            on_message: takes each message and the bytes beside it. Where it fails, the connection is made anew.
            on_lost: called when there is no connection any more.
        """
        pause_s, said = FIRST_PAUSE_S, ""
        while True:
            path, problem = Path(), "the daemon closed it"
            try:
                path = self._path()
                await self._listen(path, on_message)
            except OSError as exc:
                problem = f"{path}: {exc.strerror or exc}"
            except EdgedError as exc:
                problem = str(exc)
            except Exception:
                problem = "a message could not be taken"
                logger.exception("a defect of edged itself; please report it")
            if self._writer is not None:
                self._writer = None
                self._forget_questions()
                on_lost()
                pause_s, said = FIRST_PAUSE_S, ""
            if problem != said:
                said = problem
                logger.warning("no feed: %s; trying again", problem)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _listen(self, path: Path, on_message: Callable[[Message, bytes], None]) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        unpacker = Unpacker()
        try:
            self._writer = writer
            while received := await reader.read(_CHUNK):
                for message, content in unpacker.feed(received):
                    if message["kind"] == "snapshot":
                        self._answered(message, content)
                    else:
                        _require_protocol(message)
                        on_message(message, content)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answered(self, message: Message, content: bytes) -> None:
        for waiting in self._snapshots.pop((str(message.get("event")), bool(message.get("clean"))), []):
            if not waiting.done():
                waiting.set_result(content or None)

    def ask_picture(self, camera: str, side: int) -> bool:
        """Ask for the camera's next frame; False where there is no connection."""
        return self._ask({"kind": "picture", "camera": camera, "side": side})

    async def snapshot(self, event: str, *, clean: bool) -> bytes | None:
        """The stored picture of an event; None where there is none, or the daemon does not answer."""
        if self._writer is None:
            return None
        waiting: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        others = self._snapshots[event, clean]
        others.append(waiting)
        if len(others) == 1:
            self._ask({"kind": "snapshot", "event": event, "clean": clean})
        try:
            return await asyncio.wait_for(waiting, SNAPSHOT_S)
        except asyncio.TimeoutError:
            self._snapshots.pop((event, clean), None)
            return None

    def _ask(self, question: Message) -> bool:
        if self._writer is None:
            return False
        self._writer.write(packed(question))
        return True

    def _forget_questions(self) -> None:
        for waiting in [each for several in self._snapshots.values() for each in several]:
            if not waiting.done():
                waiting.set_result(None)
        self._snapshots.clear()


def _require_protocol(message: Message) -> None:
    """Raise DataError where another release speaks than this one understands."""
    if message["kind"] == "hello" and message.get("protocol") != PROTOCOL:
        raise DataError(f"the daemon speaks protocol {message.get('protocol')}, this page {PROTOCOL}: update both")
