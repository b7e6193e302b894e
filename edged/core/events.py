"""What analysis says besides boxes: events with their zones, lines and snapshots, and how many objects there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

EventType = Literal["start", "update", "end"]
Direction = Literal["in", "out"]
# Why an update, or an end, was said.
Change = Literal["zone", "line", "stationary", "snapshot", "label", "heartbeat"]
Ending = Literal["left", "lost", "camera_offline", "restart", "shutdown", "reconfigured"]
SnapshotState = Literal["stored", "dropped_disk", "failed", "expired"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ZoneVisit:
    """An object's stay in a zone.

    Attributes:
        name: of the zone.
        entered_at: UTC.
        left_at: UTC; None while it is inside, or was at the end.
        loitering: it stayed for the zone's `loiter_s`.
    """

    name: str
    entered_at: datetime
    left_at: datetime | None
    loitering: bool


@dataclass(frozen=True, slots=True)
class LineCrossing:
    """An object crossed a line.

    Attributes:
        name: of the line.
        direction: `in`, from left to right of the line's arrow, or `out`.
        at: UTC, the first frame that shows it beyond.
    """

    name: str
    direction: Direction
    at: datetime


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of the detections of one object, 0..1: the latest, the median and the highest."""

    last: float
    median: float
    top: float


@dataclass(frozen=True, slots=True)
class SeenIn:
    """The frame in which an object was last seen.

    Attributes:
        sequence, captured_at, size_wh: of the frame, as in its `FrameMeta`.
        box: x1, y1, x2, y2 in frame pixels.
    """

    sequence: int
    captured_at: datetime
    size_wh: tuple[int, int]
    box: Box


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """The picture of an event.

    Attributes:
        sequence, captured_at: of the frame that it shows.
        box: of the object there, frame pixels.
        sha256: of the JPEG file, hexadecimal; empty where there is none.
        state: `stored`, `dropped_disk` (the disk is full or fails), `failed` (no JPEG could be made) or `expired`.
    """

    sequence: int
    captured_at: datetime
    box: Box
    sha256: str
    state: SnapshotState


@dataclass(frozen=True, slots=True)
class Event:
    """One object, from when it came to when it left, as far as known. Every start has exactly one end.

    Attributes:
        type: of this message.
        because: why it was said: changes of an update, one ending of an end, nothing for a start.
        event: ULID; the same in all messages of one object.
        revision: 0 for the start, one more with each message.
        camera, model: names.
        label: class name with the largest sum of scores.
        score: so far.
        started_at: when it was first seen, UTC.
        last_seen_at: when it was last seen, UTC.
        ended_at: when it was known to be over, UTC; None before the end.
        duration_s: from the first to the last sight; does not depend on the wall clock.
        frame: where it was last seen.
        zones: stays, in order of entry; the last `zones.MOST_VISITS`.
        lines: crossings, in order; the last `lines.MOST_CROSSINGS`.
        crossed: those of them that are new in this message.
        stationary_since: UTC; None while it moves.
        seen_frames: frames in which it was seen.
        missed_frames: frames that were looked at between first and last sight without finding it.
        continues: an earlier event that was most likely the same object; empty where there is none.
        snapshot: None where there is no picture yet.
    """

    type: EventType
    because: tuple[Change | Ending, ...]
    event: str
    revision: int
    camera: str
    model: str
    label: str
    score: Scores
    started_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None
    duration_s: float
    frame: SeenIn
    zones: tuple[ZoneVisit, ...]
    lines: tuple[LineCrossing, ...]
    crossed: tuple[LineCrossing, ...]
    stationary_since: datetime | None
    seen_frames: int
    missed_frames: int
    continues: str
    snapshot: SnapshotFacts | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many objects there are.

    Attributes:
        all: of them.
        active: those that are not stationary.
    """

    all: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """How many objects a camera shows now, and how many crossed its lines.

    Attributes:
        camera: its name.
        as_of: UTC, the frame that was looked at last, or the moment the camera was lost.
        available: whether the camera is looked at; the counts say nothing while it is not.
        labels: by label.
        zones: by zone and label.
        lines: crossings by line, label and direction.
        lines_since: UTC, when the counting of crossings began.
    """

    camera: str
    as_of: datetime
    available: bool
    labels: Mapping[str, Count]
    zones: Mapping[str, Mapping[str, Count]]
    lines: Mapping[str, Mapping[str, Mapping[Direction, int]]]
    lines_since: datetime


@dataclass(frozen=True, slots=True)
class LineKey:
    """What crossings are counted by."""

    camera: str
    line: str
    label: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """An event that an earlier run of the daemon left open.

    Attributes:
        event: its ULID.
        camera, label: of the object.
        box: where it was last seen, fractions of the picture.
        stationary: whether it stood still.
    """

    event: str
    camera: str
    label: str
    box: Box
    stationary: bool


@dataclass(frozen=True, slots=True)
class Carried:
    """What earlier runs of the daemon left behind.

    Attributes:
        events: left open; somebody else ends them.
        crossings: counted so far.
        since: UTC, when the counting began.
    """

    events: tuple[OpenEvent, ...]
    crossings: Mapping[LineKey, int]
    since: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A picture of an object, ready to be shown.

    Attributes:
        camera, label, event: what it shows.
        jpeg: at most 200 kB.
    """

    camera: str
    label: str
    event: str
    jpeg: bytes = field(repr=False)
