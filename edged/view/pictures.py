"""Hands the pictures of cameras to whoever looks: one question to the daemon, however many wait for the answer."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from edged.feed.wire import Message

SIDES = (320, 640, 960, 1280, 1920)  # that a picture is asked in: few, so that one serves many
FRESH_S = 0.15  # a picture so young is given to whoever has not seen it
ASK_AGAIN_S = 3.0
MOST_WAITING = 1024

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, ready to be sent.

    Attributes:
        sequence: of its frame.
        body: length of the message (4 bytes, big-endian), the message, and the JPEG.
        jpeg: alone.
        at_s: when it came, CLOCK_MONOTONIC.
    """

    sequence: int
    body: bytes = field(repr=False)
    jpeg: bytes = field(repr=False)
    at_s: float


@dataclass(slots=True)
class _Camera:
    newest: Shown | None = None
    waiting: list[asyncio.Future[Shown | None]] = field(default_factory=list)
    asked_side: int = 0
    asked_s: float = 0.0

    def answer(self, shown: Shown | None) -> None:
        """Give it to all who wait; None: none comes."""
        self.newest, self.asked_side = shown, 0
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(shown)


class TooManyWait(Exception):
    """Too many wait for pictures."""


class PictureDesk:
    """One for all viewers.

    Args:
        ask: asks the daemon for a picture of a camera with so long a side.
    """

    def __init__(self, ask: Callable[[str, int], bool]) -> None:
        self._ask = ask
        self._cameras: dict[str, _Camera] = {}

    async def next(self, camera: str, *, side: int, after: int | None, timeout_s: float) -> Shown | None:
        """The newest picture of a camera, or the one that follows the one that was seen.

        Args:
            camera: its name.
            side: of the longer side, pixels; rounded up to one of `SIDES`.
            after: sequence of the frame that was seen last; None for none.
            timeout_s: to wait for it.

        Returns:
            None where none came in time, or none will come: the daemon is away, or does not know the camera.

        Raises:
            TooManyWait: too many wait already.
        """
        desk = self._cameras.setdefault(camera, _Camera())
        newest = desk.newest
        if newest is not None and newest.sequence != after and time.monotonic() - newest.at_s < FRESH_S:
            return newest
        if sum(len(each.waiting) for each in self._cameras.values()) >= MOST_WAITING:
            raise TooManyWait
        if not self._ask_for(camera, desk, next((each for each in SIDES if each >= side), SIDES[-1])):
            return None
        waiting: asyncio.Future[Shown | None] = asyncio.get_running_loop().create_future()
        desk.waiting.append(waiting)
        try:
            return await asyncio.wait_for(waiting, timeout_s)
        except asyncio.TimeoutError:
            return None
        finally:
            if waiting in desk.waiting:
                desk.waiting.remove(waiting)

    def _ask_for(self, camera: str, desk: _Camera, side: int) -> bool:
        """Ask, unless that is done already; False where the daemon is away."""
        now_s = time.monotonic()
        if side <= desk.asked_side and now_s - desk.asked_s <= ASK_AGAIN_S:
            return True
        if not self._ask(camera, side):
            return False
        desk.asked_side, desk.asked_s = max(side, desk.asked_side), now_s
        return True

    def take(self, message: Message, jpeg: bytes) -> None:
        """A picture came, or why none comes."""
        desk = self._cameras.get(str(message.get("camera")))
        if desk is None:
            return
        if not jpeg:
            desk.answer(None)
            return
        encoded = orjson.dumps(message)
        body = _LENGTH.pack(len(encoded)) + encoded + jpeg
        desk.answer(Shown(int(message["sequence"]), body, jpeg, time.monotonic()))

    def keep(self, cameras: set[str]) -> None:
        """Only these cameras are there; forget the pictures of others."""
        for gone in self._cameras.keys() - cameras:
            self._cameras.pop(gone).answer(None)

    def lost(self) -> None:
        """The daemon is gone: what was asked will not be answered."""
        for desk in self._cameras.values():
            desk.answer(None)
