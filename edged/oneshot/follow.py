"""Follows the objects of each video of `edged detect`, in the video's own time, and writes their events."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from math import isnan

from edged.analysis.appearance import Appearances
from edged.analysis.crossings import Crossings
from edged.analysis.options import SceneOptions
from edged.analysis.scene import Scene
from edged.core.events import Event
from edged.core.types import Frame, FrameMeta, FrameResult
from edged.oneshot.look import Look
from edged.oneshot.outputs import EventLines


@dataclass(slots=True)
class Summary:
    """What happened in all videos together, by label."""

    starts: Counter[str] = field(default_factory=Counter)
    crossings: Counter[tuple[str, str, str]] = field(default_factory=Counter)


class Follower:
    """Keeps a scene for each video and stream; single pictures have none.

    Args:
        options: of tracking, filters and geometry; the same for every source.
        classes: names by class id.
        model: name of the bundle.
        lines: takes every message; None: nobody.
    """

    def __init__(self, options: SceneOptions, *, classes: Sequence[str], model: str, lines: EventLines | None) -> None:
        self._options, self._classes, self._model, self._lines = options, tuple(classes), model, lines
        self._began = datetime.now(timezone.utc)
        self._began_s = time.monotonic()
        self._scenes: dict[str, Scene] = {}
        self._latest: dict[str, tuple[Look, FrameMeta]] = {}
        self._numbers: dict[str, int] = {}
        self.summary = Summary()

    def follow(self, look: Look, result: FrameResult) -> FrameResult:
        """Take the next frame of a source; the result names the event of each detection."""
        if look.item.is_picture:
            return result
        name = look.item.name
        for other in [other for other in self._scenes if other != name]:
            self._end(other)  # sources are read one after the other
        meta = self._in_media_time(look)
        self._latest[name] = look, meta
        if name not in self._scenes:
            self._scenes[name] = self._scene(name)
        labels = [self._classes[class_id] for class_id in result.detections.class_id.tolist()]
        frame = Frame(meta, look.frame.pixels)
        now_s = meta.captured_ns / 1e9
        events = self._scenes[name].look(frame, result.detections, labels, model=self._model, now_s=now_s)
        return replace(result, events=events)

    def numbers(self) -> Mapping[str, int]:
        """A short number for each event, from 1 in each video, for people."""
        return self._numbers

    def close(self) -> None:
        """The last source has ended: its events end."""
        for name in list(self._scenes):
            self._end(name)

    def _scene(self, name: str) -> Scene:
        self._numbers.clear()
        return Scene(
            name,
            self._options,
            crossings=Crossings(self._began),
            on_event=self._tell,
            looks=Appearances(),
        )

    def _in_media_time(self, look: Look) -> FrameMeta:
        meta = look.frame.meta
        if isnan(look.position_s):
            return meta
        moment_s = self._began_s + look.position_s
        at = self._began + timedelta(seconds=look.position_s)
        return replace(meta, captured_ns=round(moment_s * 1e9), captured_at=at)

    def _tell(self, event: Event) -> None:
        if event.type == "start":
            self._numbers[event.event] = len(self._numbers) + 1
            self.summary.starts[event.label] += 1
        for crossing in event.crossed:
            self.summary.crossings[crossing.name, event.label, crossing.direction] += 1
        if self._lines is not None:
            look, _ = self._latest[event.camera]
            self._lines.write(event, source=look.location)

    def _end(self, name: str) -> None:
        _, meta = self._latest[name]
        self._scenes.pop(name).end_all("camera_offline", meta.captured_ns / 1e9, meta.captured_at)
