"""Which way an object crosses a line: counted once it is clearly beyond, for boxes tremble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import hypot

from edged.analysis.geometry import Point, side
from edged.analysis.options import LineOptions
from edged.core.events import LineCrossing

MOST_CROSSINGS = 16  # of one object that its messages name, the latest
CLEAR = 0.05  # beyond a line by this share of the object's height


class Line:
    """A line of a camera, ready to be asked."""

    def __init__(self, options: LineOptions) -> None:
        self.options = options

    def counts(self, label: str) -> bool:
        """Whether objects of this label count."""
        return not self.options.labels or label in self.options.labels

    def ends(self, aspect: float) -> tuple[Point, Point]:
        """Start and end of the arrow in heights of the picture, whose width is `aspect` times its height."""
        (ax, ay), (bx, by) = self.options.points
        return (ax * aspect, ay), (bx * aspect, by)


@dataclass(slots=True)
class _Walk:
    """One object and one line: where it was last seen off the line, and how often it went over since it was clear."""

    last: Point | None = None
    net: int = 0


class LineWalks:
    """The lines of one object."""

    def __init__(self) -> None:
        self._walks: dict[str, _Walk] = {}
        self._crossings: list[LineCrossing] = []

    def see(
        self, lines: Mapping[str, Line], *, anchor: Point, height: float, label: str, aspect: float, at: datetime
    ) -> list[LineCrossing]:
        """Note where the object was seen; returns its new crossings.

        Args:
            lines: of the camera now, by name.
            anchor: middle of its lower edge, fractions of the picture.
            height: its own, fraction of the picture's.
            label: as it is called now.
            aspect: width of the picture divided by its height.
            at: the moment, UTC.
        """
        here = anchor[0] * aspect, anchor[1]
        new = []
        for name, line in lines.items():
            walk = self._walks.get(name)
            if walk is None:
                walk = self._walks[name] = _Walk()
            net = _went_over(walk, *line.ends(aspect), here, CLEAR * height)
            if net and line.counts(label):
                new.append(LineCrossing(name, "in" if net > 0 else "out", at))
        if new:
            self._crossings = [*self._crossings, *new][-MOST_CROSSINGS:]
        return new

    @property
    def crossings(self) -> tuple[LineCrossing, ...]:
        """Its crossings in order."""
        return tuple(self._crossings)


def _went_over(walk: _Walk, a: Point, b: Point, here: Point, clear: float) -> int:
    """1 where the object is now clearly right of the arrow and came over it, -1 left, 0 neither."""
    beyond = side(a, b, here)
    if not beyond:
        return 0
    if walk.last is None:
        walk.last = here
        return 0
    before = side(a, b, walk.last)
    if (before > 0) != (beyond > 0) and side(walk.last, here, a) * side(walk.last, here, b) <= 0:
        walk.net += 1 if beyond > 0 else -1
    walk.last = here
    if not walk.net or abs(beyond) < clear * hypot(b[0] - a[0], b[1] - a[1]):
        return 0
    net, walk.net = walk.net, 0
    return net
