"""Remembers objects whose event ended, to say of a new one that it continues an old one: it is not news."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from edged.analysis.stillness import overlap
from edged.core.events import Box

MOST = 64  # objects remembered of one camera, the latest
PARKED_S = 12 * 3600.0  # what stood still is known again in its place for so long
PASSING_S = 10.0  # what moved is known again for so long, where it can have got to
SAME_PLACE = 0.4  # overlap (IoU)
REACH, SPEED, FARTHEST = 0.5, 0.25, 1.5  # of what moved: its own heights, heights a second, heights at most
FAR = 0.25  # and this share of the picture at most
BORDER = 0.01  # what moved and was last seen so near the picture's border has walked out


@dataclass(frozen=True, slots=True)
class Departed:
    """An object whose event ended.

    Attributes:
        event: its ULID.
        label: its name.
        box: where it was last seen, fractions of the picture.
        last_s: when, CLOCK_MONOTONIC.
        stationary: whether it stood still.
    """

    event: str
    label: str
    box: Box
    last_s: float
    stationary: bool


class Memory:
    """The objects of one camera that are no longer tracked. Each is continued by one event at most."""

    def __init__(self) -> None:
        self._departed: list[Departed] = []

    def add(self, departed: Departed) -> None:
        """Remember one, unless it walked out of the picture: who comes in there later is somebody else."""
        x1, y1, x2, y2 = departed.box
        if not departed.stationary and (min(x1, y1) <= BORDER or max(x2, y2) >= 1 - BORDER):
            return
        self._departed = [*self._departed[1 - MOST :], departed]

    def claim(self, label: str, box: Box, *, first_s: float) -> str:
        """The event that a new object continues, which is forgotten with that; empty where there is none.

        Args:
            label: of the new object.
            box: where it was first seen, fractions of the picture.
            first_s: when, CLOCK_MONOTONIC.
        """
        likely = [(_likeness(each, box, first_s), each) for each in self._departed if each.label == label]
        best, found = max(likely, key=lambda pair: pair[0], default=(0.0, None))
        if found is None or not best:
            return ""
        self._departed.remove(found)
        return found.event


def _likeness(then: Departed, box: Box, first_s: float) -> float:
    """How well an object that was first seen at `box` can be one that departed; 0 where it cannot."""
    gap_s = max(0.0, first_s - then.last_s)
    if then.stationary:
        shared = overlap(then.box, box)
        return shared if shared >= SAME_PLACE and gap_s <= PARKED_S else 0.0
    height = then.box[3] - then.box[1]
    away = hypot((then.box[0] + then.box[2] - box[0] - box[2]) / 2, (then.box[1] + then.box[3] - box[1] - box[3]) / 2)
    reach = min(FAR, height * min(FARTHEST, REACH + SPEED * gap_s))
    return max(0.0, 1 - away / reach) if gap_s <= PASSING_S and reach > 0 else 0.0
