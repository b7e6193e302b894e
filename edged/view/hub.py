"""What the page knows: what holds now, the last hour's statistics, the events; and who is told of it."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timezone
from typing import Any

from edged.core.errors import DataError
from edged.feed.wire import Message
from edged.view.book import EventBook
from edged.view.meters import Meters
from edged.view.pictures import PictureDesk
from edged.view.viewers import Viewers

HISTORY_S = 3600.0
LEAST_BETWEEN_S = 4.0  # between two points of the last hour
MOST_POINTS = 1000
RESTART, MISSED = "restart", "not_heard"  # why an event is over whose end was not heard


class Hub:
    """Takes every message of the feed.

    Args:
        book: of events.
        desk: of pictures.
        viewers: the open pages.
        listens: there is a daemon to listen to; otherwise only a fleet is looked at.

    Attributes:
        connected: whether the daemon is there.
        info, statistics: its latest; None before the first.
        cameras: what is configured, in order.
        states, objects: the latest message of each camera.
        open: the latest message of each event that goes on.
        meters: what is measured for metrics.
    """

    def __init__(self, *, book: EventBook, desk: PictureDesk, viewers: Viewers, listens: bool = True) -> None:
        self.listens = listens
        self._book, self._desk, self._viewers = book, desk, viewers
        self.connected = False
        self.hello: Message = {}
        self.info: Message | None = None
        self.statistics: Message | None = None
        self.cameras: list[Message] = []
        self.states: dict[str, Message] = {}
        self.objects: dict[str, Message] = {}
        self.open: dict[str, Message] = {}
        self.meters = Meters()
        self._history: deque[Message] = deque(maxlen=MOST_POINTS)
        self._session = ""
        self._told = False  # all that holds was said
        self._take = {
            "hello": self._greet,
            "told": self._all_told,
            "info": self._note_info,
            "cameras": self._note_cameras,
            "camera": self._note_camera,
            "removed": self._note_removed,
            "objects": self._note_objects,
            "event": self._note_event,
            "statistics": self._note_statistics,
        }

    def take(self, message: Message, content: bytes) -> None:
        """A message came."""
        kind = message["kind"]
        if kind == "picture":
            self._desk.take(message, content)
        elif kind == "detections":
            self.meters.frame(message)
        elif act := self._take.get(kind):
            act(message)

    def lost(self) -> None:
        """The daemon is gone."""
        self.connected = self._told = False
        self._desk.lost()
        self._viewers.say("connection", {"connected": False})

    def now(self) -> Message:
        """Everything that holds, for a page that was just opened."""
        return {
            "listens": self.listens,
            "connected": self.connected,
            "device": self.hello.get("device", ""),
            "info": self.info,
            "cameras": self.cameras,
            "states": self.states,
            "objects": self.objects,
            "open": list(self.open.values()),
            "statistics": self.statistics,
            "history": list(self._history),
        }

    @property
    def ready(self) -> bool:
        """Whether the daemon is there and has said what holds."""
        return self.connected and self._told

    def _greet(self, message: Message) -> None:
        if message["session"] != self._session:
            self.meters.new_session()
        self.hello, self.connected, self._told = message, True, False
        self.info = self.statistics = None
        self.cameras, self.states, self.objects, self.open = [], {}, {}, {}

    def _all_told(self, _message: Message) -> None:
        if not self.connected:
            raise DataError("the feed: told before hello")
        restarted = bool(self._session) and self.hello["session"] != self._session
        self._session, self._told = self.hello["session"], True
        because = RESTART if restarted else MISSED
        self._book.close_others(self.open, because=because, at=datetime.now(timezone.utc))
        self._viewers.say("now", self.now())

    def _note_info(self, message: Message) -> None:
        self.info = message
        self._say("info", message)

    def _note_cameras(self, message: Message) -> None:
        self.cameras = message["cameras"]
        self.meters.expect((each["camera"], label) for each in self.cameras for label in each["labels"])
        self._desk.keep({each["camera"] for each in self.cameras})
        self._say("cameras", message)

    def _note_camera(self, message: Message) -> None:
        self.states[message["camera"]] = message
        self._say("camera", message)

    def _note_removed(self, message: Message) -> None:
        self.states.pop(message["camera"], None)
        self.objects.pop(message["camera"], None)
        self._say("removed", message)

    def _note_objects(self, message: Message) -> None:
        self.objects[message["camera"]] = message
        self._say("objects", message)

    def _note_event(self, message: Message) -> None:
        if message["type"] == "end":
            self.open.pop(message["event"], None)
        else:
            self.open[message["event"]] = message
        if self._told:  # what was said before is no news: it is counted and told once
            self.meters.event(message)
        self._book.add(message)
        self._say("event", message)

    def _note_statistics(self, message: Message) -> None:
        self.statistics = message
        self._remember(_point(message))
        self._say("statistics", message)

    def _remember(self, point: Message) -> None:
        """Add a point of the last hour; one that is known, and those of an earlier run, say nothing of this one."""
        if self._history and point["at"] <= self._history[-1]["at"]:
            return
        if self._history and point["frames"] < self._history[-1]["frames"]:
            self._history.clear()
        if not self._history or point["at"] - self._history[-1]["at"] >= LEAST_BETWEEN_S:
            self._history.append(point)
        while self._history[0]["at"] < point["at"] - HISTORY_S:
            self._history.popleft()

    def _say(self, kind: str, message: Message) -> None:
        if self._told:
            self._viewers.say(kind, message)


def _point(statistics: Message) -> dict[str, Any]:
    """What the plots of the last hour show of one moment; counters are those since the daemon's start."""
    total = statistics["latency_ms"]["total"]
    cameras = statistics["cameras"]
    return {
        "at": datetime.fromisoformat(statistics["published_at"].replace("Z", "+00:00")).timestamp(),
        "frames": statistics["frames"],
        "fps": statistics["fps"],
        "p50": total["p50"],
        "p95": total["p95"],
        "memory_mb": statistics["memory_mb"],
        "dropped": sum(sum(each["dropped"].values()) for each in cameras.values()),
        "processed": {name: each["processed"] for name, each in cameras.items()},
    }
