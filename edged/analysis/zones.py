"""When an object is in a zone: entered and left after a while there, for boxes tremble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from edged.analysis.geometry import Point, Polygon
from edged.analysis.options import ZoneOptions
from edged.core.events import ZoneVisit

MOST_VISITS = 8  # of one object that its messages name, the latest
_ROUNDING_S = 1e-6


class Zone:
    """A zone of a camera, ready to be asked."""

    def __init__(self, options: ZoneOptions) -> None:
        self.options = options
        self._area = Polygon(options.points)

    def holds(self, anchor: Point, label: str) -> bool:
        """Whether an object of this label, at `anchor` (fractions of the picture), counts there."""
        return (not self.options.labels or label in self.options.labels) and self._area.contains(anchor)


@dataclass(slots=True)
class _Stay:
    """One object and one zone: whether it is in, and since when it seems to be elsewhere."""

    inside: bool = False
    since_s: float = 0.0
    turned_s: float | None = None  # when it was first seen on the other side of the border
    turned_at: datetime | None = None
    loitering: bool = False


class ZoneStays:
    """The zones of one object."""

    def __init__(self) -> None:
        self._stays: dict[str, _Stay] = {}
        self._visits: list[ZoneVisit] = []

    def see(self, zones: Mapping[str, Zone], *, anchor: Point, label: str, at_s: float, at: datetime) -> bool:
        """Note where the object was seen; returns whether it entered or left a zone or began to loiter.

        Args:
            zones: of the camera now, by name; one that is no longer there is left.
            anchor: middle of its lower edge, fractions of the picture.
            label: as it is called now.
            at_s: CLOCK_MONOTONIC, seconds.
            at: the same moment, UTC.
        """
        changed = False
        if self._stays.keys() != zones.keys():
            changed = self._follow(zones, at)
        for name, zone in zones.items():
            stay = self._stays[name]
            changed |= self._turn(name, zone.options, stay, zone.holds(anchor, label), at_s, at)
            changed |= _loiters(stay, zone.options.loiter_of(label), at_s) and self._mark_loitering(name)
        return changed

    def _follow(self, zones: Mapping[str, Zone], at: datetime) -> bool:
        """The camera has other zones now; returns whether one was left that is no longer there."""
        gone = [name for name in self._stays if name not in zones and self._stays[name].inside]
        for name in gone:
            self._leave(name, at)
        self._stays = {name: self._stays.get(name) or _Stay() for name in zones}
        return bool(gone)

    def _turn(self, name: str, options: ZoneOptions, stay: _Stay, inside: bool, at_s: float, at: datetime) -> bool:  # noqa: FBT001
        if inside == stay.inside:
            stay.turned_s = None
            return False
        if stay.turned_s is None or stay.turned_at is None:
            stay.turned_s, stay.turned_at = at_s, at
        if at_s - stay.turned_s < (options.enter_s if inside else options.leave_s) - _ROUNDING_S:
            return False
        stay.inside, stay.since_s, stay.turned_s, stay.loitering = inside, stay.turned_s, None, False
        if inside:
            self._visits = [*self._visits[1 - MOST_VISITS :], ZoneVisit(name, stay.turned_at, None, loitering=False)]
        else:
            self._leave(name, stay.turned_at)
        return True

    def _leave(self, name: str, at: datetime) -> None:
        self._visits = [replace(visit, left_at=at) if _open(visit, name) else visit for visit in self._visits]

    def _mark_loitering(self, name: str) -> bool:
        self._visits = [replace(visit, loitering=True) if _open(visit, name) else visit for visit in self._visits]
        return True

    @property
    def visits(self) -> tuple[ZoneVisit, ...]:
        """Its stays in order of entry."""
        return tuple(self._visits)

    @property
    def inside(self) -> list[str]:
        """Names of the zones that it is in."""
        return [name for name, stay in self._stays.items() if stay.inside]


def _open(visit: ZoneVisit, name: str) -> bool:
    return visit.name == name and visit.left_at is None


def _loiters(stay: _Stay, loiter_s: float, at_s: float) -> bool:
    """Whether it begins to loiter now."""
    if not stay.inside or stay.loitering or not loiter_s or at_s - stay.since_s < loiter_s - _ROUNDING_S:
        return False
    stay.loitering = True
    return True
