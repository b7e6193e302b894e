"""A scene with a script: objects that are at given places at given times, and what was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import numpy as np

from edged.analysis.crossings import Crossings
from edged.analysis.options import EventOptions, SceneOptions
from edged.analysis.scene import Scene
from edged.analysis.tracking.track import Track
from edged.core.events import Event
from edged.core.types import Detections, Frame, FrameMeta

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
SIZE = (640, 360)
Seen = tuple[str, float, float]  # label, and the anchor in fractions of the picture
AT_ONCE = EventOptions(update_min_s=0.0)


@dataclass
class FakeLooks:
    """Says of every place what it is told to."""

    verdict: bool = False
    remembered: set[int] = field(default_factory=set)

    def remember(self, track: Track, _frame: Frame) -> None:
        self.remembered.add(track.serial)

    def same(self, track: Track, _frame: Frame) -> bool:
        return self.verdict and track.serial in self.remembered

    def forget(self, serial: int) -> None:
        self.remembered.discard(serial)


def box_at(x: float, y: float, *, wide: float = 0.08, high: float = 0.3) -> list[float]:
    """The box, in pixels, of an object that stands at fractions (x, y)."""
    return [(x - wide / 2) * SIZE[0], (y - high) * SIZE[1], (x + wide / 2) * SIZE[0], y * SIZE[1]]


class Stage:
    """One camera at a steady rate; `said` is every message, `at_s` the time of the next frame."""

    def __init__(self, options: SceneOptions | None = None, *, fps: float = 10.0) -> None:
        self.said: list[Event] = []
        self.looks = FakeLooks()
        self.step_s = 1 / fps
        self.at_s = 0.0
        self._sequence = 0
        self.scene = Scene(
            "gate",
            options or SceneOptions(events=AT_ONCE),
            crossings=Crossings(BEGAN),
            on_event=self.said.append,
            looks=self.looks,
        )

    def frame(self, *seen: Seen, score: float = 0.8) -> tuple[str, ...]:
        """Look at one frame with these objects; returns the event of each."""
        boxes = np.array([box_at(x, y) for _, x, y in seen], np.float32).reshape(-1, 4)
        found = Detections(boxes, np.full(len(seen), score, np.float32), np.zeros(len(seen), np.int32))
        moment = BEGAN + timedelta(seconds=self.at_s)
        meta = FrameMeta("gate", self._sequence, moment, round((100 + self.at_s) * 1e9), SIZE)
        labels = [label for label, _, _ in seen]
        frame = Frame(meta, np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
        events = self.scene.look(frame, found, labels, model="m", now_s=100 + self.at_s)
        self._sequence += 1
        self.at_s += self.step_s
        return events

    def stay(self, seconds: float, *seen: Seen, score: float = 0.8) -> None:
        """The same objects for a while."""
        for _ in range(round(seconds / self.step_s)):
            self.frame(*seen, score=score)

    def walk(self, label: str, path: Sequence[tuple[float, float]], seconds: float) -> None:
        """One object along a path of straight legs."""
        frames = round(seconds / self.step_s)
        for n in range(frames):
            where = n / max(1, frames - 1) * (len(path) - 1)
            leg = min(int(where), len(path) - 2)
            (ax, ay), (bx, by) = path[leg], path[leg + 1]
            part = where - leg
            self.frame((label, ax + part * (bx - ax), ay + part * (by - ay)))

    def pass_time(self, seconds: float) -> None:
        """Nobody looks; the pipeline goes on."""
        until = self.at_s + seconds
        while self.at_s < until:
            self.scene.rest(100 + self.at_s, BEGAN + timedelta(seconds=self.at_s))
            self.at_s += 0.2

    def kinds(self) -> list[str]:
        """Type and reasons of each message."""
        return [" ".join((event.type, *event.because)) for event in self.said]
