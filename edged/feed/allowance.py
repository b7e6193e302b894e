"""How often pictures may be made, so that looking costs detection little."""

from __future__ import annotations

import time
from collections.abc import Callable

MOST_SHARE = 0.25  # of one core, while detection takes every frame
LEAST_SHARE = 0.02  # while it does not
GROWTH = 1.5  # of the share, with each report that says that nothing was dropped
DROPPING = 0.02  # of the frames: less is a camera's own unsteadiness


class Allowance:
    """Bounds the processor time of pictures by a share of one core.

    The share falls to its least with the first report of dropped frames, and grows again while detection takes all:
    what the frames need comes first.

    Args:
        clock: seconds, never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_s = 0.0
        self._captured = self._dropped = 0
        self._reported = False
        self.share = MOST_SHARE

    @property
    def wait_s(self) -> float:
        """Seconds until the next picture may be made, at least 0."""
        return max(0.0, self._next_s - self._clock())

    @property
    def is_small(self) -> bool:
        """Whether pictures come seldom because detection needs the processor."""
        return self.share < MOST_SHARE / 2

    def spend(self, cpu_s: float) -> None:
        """A picture took so many seconds of a processor."""
        self._next_s = max(self._next_s, self._clock()) + cpu_s / self.share

    def report(self, *, captured: int, dropped: int) -> None:
        """So many frames were captured, and dropped because detection was busy, since the start.

        The first report decides nothing: frames were dropped while the model was loaded.
        """
        new, missed = captured - self._captured, dropped - self._dropped
        self._captured, self._dropped = captured, dropped
        if not self._reported:
            self._reported = True
        elif missed > DROPPING * new:
            self.share = LEAST_SHARE
        else:
            self.share = min(MOST_SHARE, GROWTH * self.share)
