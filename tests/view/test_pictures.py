"""One question to the daemon, however many wait."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from edged.view import pictures as module
from edged.view.pictures import PictureDesk, TooManyWait


class Daemon:
    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.desk = PictureDesk(self._ask)

    def _ask(self, camera: str, side: int) -> bool:
        self.asked.append((camera, side))
        return True

    def answer(self, sequence: int, jpeg: bytes = b"jpeg") -> None:
        self.desk.take({"kind": "picture", "camera": "gate", "sequence": sequence}, jpeg)


def run(act: Any) -> Any:
    return asyncio.run(act)


def test_many_viewers_ask_once_and_get_the_same_bytes() -> None:
    async def act() -> None:
        daemon = Daemon()
        looks = [asyncio.create_task(daemon.desk.next("gate", side=600, after=None, timeout_s=5)) for _ in range(20)]
        await asyncio.sleep(0)
        assert daemon.asked == [("gate", 640)]
        daemon.answer(7)
        shown = [each for each in await asyncio.gather(*looks) if each is not None]
        assert len(shown) == 20
        assert len({id(each) for each in shown}) == 1
        size = int.from_bytes(shown[0].body[:4], "big")
        assert json.loads(shown[0].body[4 : 4 + size])["sequence"] == 7
        assert shown[0].body[4 + size :] == b"jpeg"

    run(act())


def test_a_larger_picture_is_asked_for_where_somebody_wants_it() -> None:
    async def act() -> None:
        daemon = Daemon()
        looks = [
            asyncio.create_task(daemon.desk.next("gate", side=side, after=None, timeout_s=5))
            for side in (320, 1280, 640, 5000)
        ]
        await asyncio.sleep(0)
        assert daemon.asked == [("gate", 320), ("gate", 1280), ("gate", 1920)]
        daemon.answer(1)
        await asyncio.gather(*looks)

    run(act())


def test_the_newest_is_given_at_once_to_whoever_has_not_seen_it() -> None:
    async def act() -> None:
        daemon = Daemon()
        first = asyncio.create_task(daemon.desk.next("gate", side=320, after=None, timeout_s=5))
        await asyncio.sleep(0)
        daemon.answer(7)
        await first
        again = await daemon.desk.next("gate", side=320, after=6, timeout_s=5)
        assert again is not None
        assert again.sequence == 7
        assert len(daemon.asked) == 1
        assert await daemon.desk.next("gate", side=320, after=7, timeout_s=0.05) is None
        assert len(daemon.asked) == 2

    run(act())


def test_nobody_waits_for_ever_and_not_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        daemon = Daemon()
        assert await daemon.desk.next("gate", side=320, after=None, timeout_s=0.05) is None
        monkeypatch.setattr(module, "MOST_WAITING", 1)
        first = asyncio.create_task(daemon.desk.next("gate", side=320, after=None, timeout_s=0.2))
        await asyncio.sleep(0)
        with pytest.raises(TooManyWait):
            await daemon.desk.next("gate", side=320, after=None, timeout_s=5)
        assert await first is None

    run(act())


def test_who_waits_is_told_that_the_daemon_was_lost_and_it_is_asked_anew() -> None:
    async def act() -> None:
        daemon = Daemon()
        look = asyncio.create_task(daemon.desk.next("gate", side=320, after=None, timeout_s=5))
        await asyncio.sleep(0)
        daemon.desk.lost()
        assert await look is None
        other = asyncio.create_task(daemon.desk.next("gate", side=320, after=None, timeout_s=5))
        await asyncio.sleep(0)
        assert len(daemon.asked) == 2
        daemon.answer(1)
        assert await other is not None
        gone = asyncio.create_task(daemon.desk.next("gate", side=320, after=1, timeout_s=5))
        await asyncio.sleep(0)
        daemon.desk.keep(set())
        assert await gone is None, "its camera was removed"

    run(act())
