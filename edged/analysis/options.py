"""What a user may set of tracking and events: frozen, with ranges and defaults, as keys of the configuration."""

# No `from __future__ import annotations` here: pydantic before 2.10 resolves annotations in the subclass's module.

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval

from edged.analysis.geometry import Point, require_points, require_polygon
from edged.core.names import require_name
from edged.core.options import require_valid

MOST_S = 86_400.0
DEFAULT_FILTER = "default"
Fraction = Annotated[float, Interval(ge=0.0, le=1.0)]
Seconds = Annotated[float, Interval(ge=0.0, le=MOST_S)]


@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """How objects are told apart from frame to frame: keys of `[track]`. Times are seconds.

    Attributes:
        enabled: off: frames and their detections only, no events.
        lost_s: an object looked for in vain for so long is gone.
        confirm_s: an object must be seen for so long, and twice at least, before it counts.
        stationary_s: an object that has not moved for so long is stationary.
    """

    enabled: bool = True
    lost_s: Annotated[float, Interval(ge=0.1, le=3600.0)] = 5.0
    confirm_s: Annotated[float, Interval(ge=0.0, le=60.0)] = 0.3
    stationary_s: Annotated[float, Interval(ge=1.0, le=MOST_S)] = 10.0


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """Which objects of a label count: keys of `[filter.LABEL]`, and of `[filter.default]` for all others.

    Attributes:
        min_score: a detection below it only goes on with an object that is known.
        confirm_score: median of the scores at least, before an object counts.
        min_area, max_area: of a box, fractions of the picture.
        min_ratio, max_ratio: width divided by height of a box.

    Raises:
        ValueError: a lower limit is not below its upper one.
    """

    min_score: Fraction = 0.35
    confirm_score: Fraction = 0.45
    min_area: Fraction = 0.0005
    max_area: Fraction = 1.0
    min_ratio: Annotated[float, Interval(ge=0.0, le=100.0)] = 0.0
    max_ratio: Annotated[float, Interval(ge=0.0, le=100.0)] = 100.0

    def __post_init__(self) -> None:
        require_valid(self)
        require_order(self)


def require_order(options: FilterOptions) -> None:
    """Raise ValueError where nothing can lie between the limits."""
    for what in ("area", "ratio"):
        low, high = getattr(options, f"min_{what}"), getattr(options, f"max_{what}")
        if low >= high:
            raise ValueError(f"min_{what} {low:g} is not below max_{what} {high:g}: no object would count")


@dataclass(frozen=True, kw_only=True)
class ZoneOptions:
    """An area of a camera's picture: keys of `[[camera.zone]]`.

    Attributes:
        name: of `a-z 0-9 _ -`, unique in its camera.
        points: corners in order, fractions of the upright picture, after `rotate`.
        labels: what counts there; empty: every label.
        enter_s, leave_s: an object is in, or out, once it has been there for so long.
        loiter_s: an object that stays so long loiters: one number, or one a label; 0: never.

    Raises:
        ValueError: a name or an area that cannot be.
    """

    name: str
    points: tuple[Point, ...]
    labels: tuple[str, ...] = ()
    enter_s: Seconds = 0.4
    leave_s: Seconds = 1.0
    loiter_s: Seconds | Mapping[str, Seconds] = 0.0

    def __post_init__(self) -> None:
        require_name("zone", self.name)
        require_polygon(self.points)

    def loiter_of(self, label: str) -> float:
        """Seconds after which `label` loiters, 0 for never."""
        return self.loiter_s.get(label, 0.0) if isinstance(self.loiter_s, Mapping) else self.loiter_s


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    """A line across a camera's picture: keys of `[[camera.line]]`.

    Attributes:
        name: of `a-z 0-9 _ -`, unique in its camera.
        points: two, an arrow from the first to the second; `in` is from its left to its right.
        labels: what counts; empty: every label.

    Raises:
        ValueError: a name or points that cannot be.
    """

    name: str
    points: tuple[Point, ...]
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_name("line", self.name)
        require_points(self.points, least=2, most=2)


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """An area of a camera's picture in which nothing counts: keys of `[[camera.mask]]`.

    Attributes:
        points: corners in order, fractions of the upright picture.
        labels: what does not count there; empty: every label.
    """

    points: tuple[Point, ...]
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_polygon(self.points)


@dataclass(frozen=True, kw_only=True)
class EventOptions:
    """How often events are said: keys of `[events]`. Times are seconds.

    Attributes:
        update_min_s: least time between two messages of one event; start and end are never delayed.
        heartbeat_s: an event that goes on is said again after so long.
    """

    update_min_s: Seconds = 1.0
    heartbeat_s: Annotated[float, Interval(ge=1.0, le=MOST_S)] = 60.0


@dataclass(frozen=True, kw_only=True)
class SnapshotOptions:
    """The best picture of each object: keys of `[snapshots]`.

    Attributes:
        enabled: off: no pictures.
        clean: store a second file without box and label.
        crop: show the object and a little around it, not the whole frame.
        max_mb: of all files together; the oldest are removed.
        max_days: older files are removed.
        min_free_mb: so much of the disk stays free.
    """

    enabled: bool = True
    clean: bool = False
    crop: bool = False
    max_mb: Annotated[float, Interval(ge=1.0, le=float(1 << 30))] = 2000.0
    max_days: Annotated[float, Interval(ge=0.001, le=3650.0)] = 14.0
    min_free_mb: Annotated[float, Interval(ge=0.0, le=float(1 << 30))] = 500.0


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """Everything that one camera's analysis needs to know.

    Attributes:
        track, events: as configured.
        filters: by label; `default` for all others.
        zones, lines, masks: of this camera.
        shown: labels that are counted even before the first such object was seen.
    """

    track: TrackOptions = field(default_factory=TrackOptions)
    events: EventOptions = field(default_factory=EventOptions)
    filters: Mapping[str, FilterOptions] = field(default_factory=dict)
    zones: tuple[ZoneOptions, ...] = ()
    lines: tuple[LineOptions, ...] = ()
    masks: tuple[MaskOptions, ...] = ()
    shown: tuple[str, ...] = ()

    def filter_of(self, label: str) -> FilterOptions:
        """The limits of a label."""
        return self.filters.get(label) or self.filters.get(DEFAULT_FILTER) or _NO_FILTER


_NO_FILTER = FilterOptions()
