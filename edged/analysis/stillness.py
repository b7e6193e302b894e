"""Since when an object stands still, by its own size, and from when it moves again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edged.core.events import Box

STAYS = 0.6  # an object that overlaps its old place by so much (IoU) has not moved; boxes tremble
MOVED_S = 1.0  # a stationary object must be elsewhere for so long before it moves again: one bad box is no move


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@dataclass(slots=True)
class Stillness:
    """One object.

    Attributes:
        since: UTC, when it came to where it stands; None while it is not stationary.
    """

    place: Box
    place_s: float
    place_at: datetime
    elsewhere_s: float | None = None
    since: datetime | None = None

    def see(self, box: Box, at_s: float, at: datetime, *, stationary_s: float) -> bool:
        """Note where the object was seen; returns whether it became stationary or moves again.

        Args:
            box: frame pixels.
            at_s: CLOCK_MONOTONIC, seconds.
            at: the same moment, UTC.
            stationary_s: stationary after so long in one place.
        """
        if overlap(box, self.place) >= STAYS:
            self.elsewhere_s = None
            if self.since is None and at_s - self.place_s >= stationary_s:
                self.since = self.place_at
                return True
            return False
        if self.since is None:
            self.place, self.place_s, self.place_at = box, at_s, at
            return False
        if self.elsewhere_s is None:
            self.elsewhere_s = at_s
        if at_s - self.elsewhere_s < MOVED_S:
            return False
        self.place, self.place_s, self.place_at = box, at_s, at
        self.since = self.elsewhere_s = None
        return True
