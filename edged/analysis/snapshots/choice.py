"""Which frame shows an object best."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from edged.core.events import Box

BETTER = 1.2  # a picture must be so much better to replace the one before
APART_S = 1.0  # least time between two pictures of one object
CUT = 0.5  # worth of a picture whose object is cut by the border
_BORDER_PX = 2.0


def worth(box: Box, score: float, size_wh: tuple[int, int]) -> float:
    """How good a picture of an object is: surer and larger is better, one that is cut by the border is worth half."""
    x1, y1, x2, y2 = box
    width, height = size_wh
    share = max(0.0, x2 - x1) * max(0.0, y2 - y1) / (width * height)
    cut = x1 < _BORDER_PX or y1 < _BORDER_PX or x2 > width - _BORDER_PX or y2 > height - _BORDER_PX
    return score * sqrt(share) * (CUT if cut else 1.0)


@dataclass(slots=True)
class Best:
    """The best picture of one object so far."""

    worth: float = 0.0
    taken_s: float = float("-inf")

    def beaten_by(self, candidate: float, at_s: float) -> bool:
        """Whether a picture of this worth, at this moment (CLOCK_MONOTONIC, seconds), shall be taken."""
        return candidate > self.worth * BETTER and at_s - self.taken_s >= APART_S
