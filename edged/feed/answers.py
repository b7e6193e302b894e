"""Makes the feed's answers: the picture of a frame with what was found in it, and stored snapshots."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edged.core.ulid import is_ulid
from edged.feed.pictures import Taken, shown
from edged.feed.wire import Message, packed
from edged.jpeg import NoPicture

LEAST_SIDE, MOST_SIDE = 64, 1920

logger = logging.getLogger(__name__)


class Answers:
    """Answers what clients ask.

    Args:
        read_snapshot: the JPEG of an event, with its box or clean; None where there is none.
    """

    def __init__(self, *, read_snapshot: Callable[[str, bool], bytes | None]) -> None:
        self._read_snapshot = read_snapshot

    def picture(self, taken: Taken, *, most_side: int, seldom: bool = False) -> bytes:
        """The frame as JPEG beside the very detections that were found in it; `seldom`: others follow late."""
        try:
            message = {**taken.describe(), "kind": "picture", "seldom": seldom}
        except ValueError as exc:
            return packed({"kind": "picture", "camera": taken.camera, "problem": str(exc)})
        try:
            jpeg = shown(taken.pixels, most_side=max(LEAST_SIDE, min(MOST_SIDE, most_side)))
        except NoPicture as exc:
            return packed({**message, "problem": str(exc)})
        return packed(message, jpeg)

    def snapshot(self, asked: Message) -> bytes:
        """The stored picture of an event; `problem` says why there is none."""
        event, clean = asked.get("event"), bool(asked.get("clean"))
        answer = {"kind": "snapshot", "event": event if isinstance(event, str) else "", "clean": clean}
        if not (isinstance(event, str) and is_ulid(event)):
            return packed({**answer, "problem": "not the name of an event"})
        try:
            jpeg = self._read_snapshot(event, clean)
        except OSError as exc:
            return packed({**answer, "problem": f"it cannot be read: {exc.strerror}"})
        except ValueError as exc:
            return packed({**answer, "problem": str(exc)})
        return packed({**answer, "problem": "there is none"}) if jpeg is None else packed(answer, jpeg)
