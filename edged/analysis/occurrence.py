"""One object from the first sight of it to the end of its event: what its messages say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from edged.analysis.lines import Line, LineWalks
from edged.analysis.options import SceneOptions
from edged.analysis.stillness import Stillness
from edged.analysis.tracking.track import Track
from edged.analysis.zones import Zone, ZoneStays
from edged.core.events import Change, Ending, Event, EventType, LineCrossing, Scores, SeenIn, SnapshotFacts
from edged.core.types import FrameMeta
from edged.core.ulid import new_ulid


@dataclass(slots=True)
class Ground:
    """Zones and lines of a camera, by name, made from its options."""

    options: SceneOptions
    zones: dict[str, Zone] = field(init=False)
    lines: dict[str, Line] = field(init=False)

    def __post_init__(self) -> None:
        self.zones = {zone.name: Zone(zone) for zone in self.options.zones}
        self.lines = {line.name: Line(line) for line in self.options.lines}


class Occurrence:
    """An object that is tracked. It becomes an event once its track is confirmed.

    Args:
        track: of the object, seen in the frame `meta`.
        meta: the first frame that shows it.

    Attributes:
        event: ULID; empty until the event began.
        snapshot: its best picture so far.
        continues: an earlier event that was most likely the same object.
        said_s: when its latest message was made, CLOCK_MONOTONIC.
    """

    def __init__(self, track: Track, meta: FrameMeta) -> None:
        self.track = track
        self.event = ""
        self.continues = ""
        self.snapshot: SnapshotFacts | None = None
        self.said_s = 0.0
        self._camera = meta.camera
        self._started_at = meta.captured_at
        self._seen_in = _seen_in(track, meta)
        self._stays, self._walks = ZoneStays(), LineWalks()
        self._stillness = Stillness(track.box, track.last_s, meta.captured_at)
        self._label = track.label
        self._revision = 0
        self._changes: set[Change] = set()
        self._crossed: list[LineCrossing] = []

    def see(self, meta: FrameMeta, ground: Ground) -> bool:
        """Its track was seen in this frame; returns whether a change waits to be said."""
        track, at_s, at = self.track, self.track.last_s, meta.captured_at
        self._seen_in = _seen_in(track, meta)
        width, height = meta.size_wh
        x1, y1, x2, y2 = track.box
        anchor = (x1 + x2) / 2 / width, y2 / height
        if self._stays.see(ground.zones, anchor=anchor, label=track.label, at_s=at_s, at=at):
            self._changes.add("zone")
        crossed = self._walks.see(
            ground.lines, anchor=anchor, height=(y2 - y1) / height, label=track.label, aspect=width / height, at=at
        )
        if crossed:
            self._crossed += crossed
            self._changes.add("line")
        if self._stillness.see(track.box, at_s, at, stationary_s=ground.options.track.stationary_s):
            self._changes.add("stationary")
        if track.label != self._label:
            self._label = track.label
            self._changes.add("label")
        return bool(self._changes)

    def pictured(self, facts: SnapshotFacts | None) -> None:
        """A better picture of it was stored, or could not be; None: the file of the one before was removed."""
        if facts is None and self.snapshot is not None:
            facts = replace(self.snapshot, state="expired")
        elif facts is not None and facts.state != "stored" and _is_stored(self.snapshot):
            return  # the one before is still there
        self.snapshot = facts
        self._changes.add("snapshot")

    def start(self, *, model: str, now_s: float, continues: str) -> Event:
        """Its event begins."""
        self.event, self.continues = new_ulid(self._started_at), continues
        return self._say("start", (), model=model, now_s=now_s)

    def update(self, *, model: str, now_s: float, ground: Ground) -> Event | None:
        """An update, where something changed and the last message was not just now, or was long ago."""
        quiet_s, events = now_s - self.said_s, ground.options.events
        if self._changes and quiet_s >= events.update_min_s:
            return self._say("update", tuple(sorted(self._changes)), model=model, now_s=now_s)
        if quiet_s >= events.heartbeat_s:
            return self._say("update", ("heartbeat",), model=model, now_s=now_s)
        return None

    def end(self, because: Ending, at: datetime, *, model: str, now_s: float) -> Event:
        """Its event is over; nothing may be said of it afterwards."""
        return self._say("end", (because,), model=model, now_s=now_s, ended_at=at)

    @property
    def stationary(self) -> bool:
        """Whether it stands still."""
        return self._stillness.since is not None

    @property
    def zones(self) -> list[str]:
        """Names of the zones that it is in."""
        return self._stays.inside

    @property
    def started_at(self) -> datetime:
        """When it was first seen, UTC."""
        return self._started_at

    @property
    def last_seen_at(self) -> datetime:
        """When it was last seen, UTC."""
        return self._seen_in.captured_at

    @property
    def size_wh(self) -> tuple[int, int]:
        """Of the frame in which it was last seen, pixels."""
        return self._seen_in.size_wh

    def _say(
        self,
        kind: EventType,
        because: tuple[Change | Ending, ...],
        *,
        model: str,
        now_s: float,
        ended_at: datetime | None = None,
    ) -> Event:
        track = self.track
        event = Event(
            type=kind,
            because=because,
            event=self.event,
            revision=self._revision,
            camera=self._camera,
            model=model,
            label=track.label,
            score=Scores(track.score, track.median, track.top),
            started_at=self._started_at,
            last_seen_at=self._seen_in.captured_at,
            ended_at=ended_at,
            duration_s=track.age_s,
            frame=self._seen_in,
            zones=self._stays.visits,
            lines=self._walks.crossings,
            crossed=tuple(self._crossed),
            stationary_since=self._stillness.since,
            seen_frames=track.hits,
            missed_frames=track.missed,
            continues=self.continues,
            snapshot=self.snapshot,
        )
        self._revision += 1
        self.said_s = now_s
        self._changes.clear()
        self._crossed.clear()
        return event


def _is_stored(snapshot: SnapshotFacts | None) -> bool:
    return snapshot is not None and snapshot.state == "stored"


def _seen_in(track: Track, meta: FrameMeta) -> SeenIn:
    return SeenIn(meta.sequence, meta.captured_at, meta.size_wh, track.box)
