"""Passes what the daemon says to every open page, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

MOST_VIEWERS = 512
MOST_WAITING = 512  # messages; a page that is so far behind is closed, and reads everything anew


class TooMany(Exception):
    """No further viewer is taken."""


class Viewer:
    """One open page.

    Attributes:
        waiting: messages as they are sent; None: it is too far behind, close it.
    """

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)
        self.behind = False

    def say(self, message: bytes) -> None:
        """Send a message in its turn."""
        if self.behind:
            return
        if self.waiting.qsize() >= MOST_WAITING - 1:
            self.behind = True
            self.waiting.put_nowait(None)
        else:
            self.waiting.put_nowait(message)


class Viewers:
    """All open pages."""

    def __init__(self) -> None:
        self._all: set[Viewer] = set()

    @contextmanager
    def joined(self) -> Iterator[Viewer]:
        """A viewer, as long as this context lasts.

        Raises:
            TooMany: there are `MOST_VIEWERS`.
        """
        if len(self._all) >= MOST_VIEWERS:
            raise TooMany
        viewer = Viewer()
        self._all.add(viewer)
        try:
            yield viewer
        finally:
            self._all.discard(viewer)

    def say(self, kind: str, message: Mapping[str, Any]) -> None:
        """Tell every page; encoded once."""
        if self._all:
            encoded = as_event(kind, message)
            for viewer in self._all:
                viewer.say(encoded)


def as_event(kind: str, message: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(message) + b"\n\n"
