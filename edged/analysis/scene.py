"""What goes on before one camera: tracks, events, counts. Pure: frames and clocks come in, events go out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from math import inf

import numpy as np

from edged.analysis.counts import count, counted
from edged.analysis.crossings import Crossings
from edged.analysis.memory import Departed, Memory
from edged.analysis.occurrence import Ground, Occurrence
from edged.analysis.options import SceneOptions
from edged.analysis.selection import Selection
from edged.analysis.sight import Looks, Pictures
from edged.analysis.tracking.motion import Doubles
from edged.analysis.tracking.track import Track
from edged.analysis.tracking.tracker import Tracker
from edged.core.events import Box, Ending, Event, LineKey, ObjectCounts, SnapshotFacts
from edged.core.types import Detections, Frame

COVERED = 0.5  # a place is hidden once another object's box covers this share of it
WALKED_OUT = 0.2  # share of the usual wait for an object that should be outside of the picture by now
MOST_UNSEEN_S = 600.0  # a stationary object whose place looks as before is kept so long at most without being detected
_ROUNDING_S = 1e-6

OnEvent = Callable[[Event], None]


class Scene:
    """One camera. One thread calls it, frames in order of capture.

    Args:
        camera: its name.
        options: of tracking, filters and geometry.
        crossings: counts those of all cameras.
        on_event: takes each event's messages, in order.
        looks: of the places of stationary objects.
        pictures: takes them of the objects; None for none.

    Attributes:
        memory: of objects whose event ended.
        changed: the counts may be others than when the caller last set this to False.
    """

    def __init__(
        self,
        camera: str,
        options: SceneOptions,
        *,
        crossings: Crossings,
        on_event: OnEvent,
        looks: Looks,
        pictures: Pictures | None = None,
    ) -> None:
        self.camera = camera
        self.memory = Memory()
        self._crossings = crossings
        self._tell, self._looks, self._pictures = on_event, looks, pictures
        self._shown = dict.fromkeys(options.shown)
        self._ground, self._selection = Ground(options), Selection(options)
        self._tracker = Tracker(sure=self._sure, confirms=self._confirms, lost_s=options.track.lost_s)
        self._open: dict[int, Occurrence] = {}  # by the track's serial
        self._model = ""
        self._looked_at: datetime | None = None
        self._away_s: float | None = None  # since when the camera is not looked at
        self.changed = True

    @property
    def heartbeat_s(self) -> float:
        """What goes on is said again after so long."""
        return self._ground.options.events.heartbeat_s

    @property
    def occurrences(self) -> Iterable[Occurrence]:
        """The objects whose events are open."""
        return (each for each in self._open.values() if each.event)

    def configure(self, options: SceneOptions) -> None:
        """Use other limits and another geometry from now on; identities stay."""
        self._ground, self._selection = Ground(options), Selection(options)
        self._tracker.lost_s = options.track.lost_s
        self._shown = dict.fromkeys((*options.shown, *self._shown))
        self.changed = True

    def look(
        self, frame: Frame, detections: Detections, labels: Sequence[str], *, model: str, now_s: float
    ) -> tuple[str, ...]:
        """Take the detections of a frame.

        Args:
            frame: with valid pixels.
            detections: of the frame.
            labels: name of each detection.
            model: name of the bundle that found them.
            now_s: CLOCK_MONOTONIC, seconds.

        Returns:
            The event of each detection, empty where it belongs to none.
        """
        self._model = model
        if self._away_s is not None:  # a frozen picture, or a frame that was under way when the camera was lost
            return ("",) * len(labels)
        meta = frame.meta
        kept = self._selection.keep(detections, labels, meta.size_wh)
        names = [labels[index] for index in kept]
        xyxy, scores = detections.xyxy[kept].astype(np.float64), detections.confidence[kept].astype(np.float64)
        tracks = self._tracker.update(meta.captured_ns / 1e9, xyxy, scores, names)
        events = [""] * len(labels)
        if tracks is None:  # out of order: too late for this frame
            return tuple(events)
        self._looked_at = meta.captured_at
        for index, track in zip(kept, tracks, strict=True):
            if track is not None:
                events[index] = self._see(track, frame, now_s).event
        self._excuse(frame)
        self._let_go(meta.size_wh)
        self._end_gone(meta.captured_at, now_s)
        self._update(now_s)
        return tuple(events)

    def rest(self, now_s: float, at: datetime) -> None:
        """No frame came: say what is due, and end events of a camera that is away for too long."""
        if self._away_s is None:
            self._update(now_s)
        elif now_s - self._away_s >= self._ground.options.track.lost_s:
            self.end_all("camera_offline", now_s, at)

    def away(self, now_s: float) -> None:
        """The camera is lost, frozen or ended: nobody looks, and nothing is known."""
        if self._away_s is None:
            self._away_s = now_s
            self.changed = True

    def back(self) -> None:
        """The camera gives frames again."""
        self.changed |= self._away_s is not None
        self._away_s = None

    def end_all(self, because: Ending, now_s: float, at: datetime) -> None:
        """End every event and forget every track."""
        for occurrence in list(self._open.values()):
            self._end(occurrence, because, now_s, at)
        self._tracker.drop(lambda _: True)

    def pictured(self, event: str, facts: SnapshotFacts | None) -> bool:
        """A picture of an event was made, or could not be; None: its file was removed. False for no open event here."""
        for occurrence in self.occurrences:
            if occurrence.event == event:
                occurrence.pictured(facts)
                return True
        return False

    def counts(self) -> ObjectCounts | None:
        """How many objects there are; None before the first frame."""
        if self._looked_at is None:
            return None
        labels, zones = count(self.occurrences, self._ground, shown=self._shown)
        lines = {name: counted(line.options.labels, self._shown) for name, line in self._ground.lines.items()}
        return ObjectCounts(
            camera=self.camera,
            as_of=self._looked_at,
            available=self._away_s is None,
            labels=labels,
            zones=zones,
            lines=self._crossings.of(self.camera, lines),
            lines_since=self._crossings.since,
        )

    def _on_event(self, event: Event) -> None:
        self._shown.setdefault(event.label)
        self.changed = True
        for crossing in event.crossed:
            self._crossings.add(LineKey(self.camera, crossing.name, event.label, crossing.direction))
        self._tell(event)

    def _sure(self, label: str) -> float:
        return self._ground.options.filter_of(label).min_score

    def _confirms(self, track: Track) -> bool:
        long_enough = track.age_s >= self._ground.options.track.confirm_s - _ROUNDING_S
        return long_enough and track.median >= self._ground.options.filter_of(track.label).confirm_score

    def _see(self, track: Track, frame: Frame, now_s: float) -> Occurrence:
        meta = frame.meta
        occurrence = self._open.get(track.serial)
        if occurrence is None:
            occurrence = self._open[track.serial] = Occurrence(track, meta)
        self.changed |= occurrence.see(meta, self._ground)
        if occurrence.stationary:
            self._looks.remember(track, frame)
        if track.confirmed and not occurrence.event:
            earlier = self.memory.claim(track.label, _fractions(track.box, meta.size_wh), first_s=track.first_s)
            self._on_event(occurrence.start(model=self._model, now_s=now_s, continues=earlier))
        if occurrence.event and self._pictures is not None:
            self._pictures.consider(occurrence, frame)
        return occurrence

    def _excuse(self, frame: Frame) -> None:
        """What stands still and was not detected is not absent while its place is hidden, or looks as before."""
        missed = [
            (row, track) for row, track in enumerate(self._tracker.tracks)
            if track.misses and (open_ := self._open.get(track.serial)) is not None and open_.stationary
        ]  # fmt: skip
        if not missed:
            return
        places = self._tracker.places()
        for row, track in missed:
            unseen_s = frame.meta.captured_ns / 1e9 - track.last_s
            if self._hidden(row, places) or (unseen_s <= MOST_UNSEEN_S and self._looks.same(track, frame)):
                track.absent_s = 0.0

    def _let_go(self, size_wh: tuple[int, int]) -> None:
        """Who walked out of the picture is not waited for as long as somebody behind a tree."""
        gone_s = self._tracker.lost_s * WALKED_OUT
        missed = [row for row, track in enumerate(self._tracker.tracks) if track.absent_s > gone_s]
        if not missed:
            return
        places = self._tracker.places()[missed]
        centres = (places[:, :2] + places[:, 2:]) / 2
        width, height = size_wh
        for row, (x, y) in zip(missed, centres.tolist(), strict=True):
            if not (0 <= x <= width and 0 <= y <= height):
                self._tracker.tracks[row].absent_s = inf

    def _hidden(self, row: int, places: Doubles) -> bool:
        """Whether another object, seen in this frame, covers the place of this one."""
        seen = [index for index, track in enumerate(self._tracker.tracks) if index != row and not track.misses]
        if not seen:
            return False
        mine, others = places[row], places[seen]
        sides = np.minimum(mine[2:], others[:, 2:]) - np.maximum(mine[:2], others[:, :2])
        shared = np.maximum(sides, 0).prod(axis=1)
        return bool((shared >= COVERED * (mine[2] - mine[0]) * (mine[3] - mine[1])).any())

    def _end_gone(self, at: datetime, now_s: float) -> None:
        lost = self._tracker.lost_s
        going = [row for row, track in enumerate(self._tracker.tracks) if track.confirmed and track.absent_s > lost]
        places = self._tracker.places() if going else np.empty((0, 4))
        hidden = {self._tracker.tracks[row].serial for row in going if self._hidden(row, places)}
        self._tracker.drop_gone()
        tracked = {track.serial for track in self._tracker.tracks}
        for serial in [serial for serial in self._open if serial not in tracked]:
            self._end(self._open[serial], "lost" if serial in hidden else "left", now_s, at)

    def _end(self, occurrence: Occurrence, because: Ending, now_s: float, at: datetime) -> None:
        del self._open[occurrence.track.serial]
        self._looks.forget(occurrence.track.serial)
        if not occurrence.event:
            return
        if self._pictures is not None:
            self._pictures.forget(occurrence.event)
        track = occurrence.track
        self.memory.add(
            Departed(
                occurrence.event,
                track.label,
                _fractions(track.box, occurrence.size_wh),
                track.last_s,
                occurrence.stationary,
            )
        )
        self._on_event(occurrence.end(because, at, model=self._model, now_s=now_s))

    def _update(self, now_s: float) -> None:
        for occurrence in list(self.occurrences):
            update = occurrence.update(model=self._model, now_s=now_s, ground=self._ground)
            if update is not None:
                self._on_event(update)


def _fractions(box: Box, size_wh: tuple[int, int]) -> Box:
    width, height = size_wh
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height
