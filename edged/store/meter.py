"""How fast frames are looked at, in a number that two models can be compared by."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_SEEN = 0.1  # of the time a camera must have been there, for a rate to say anything


class RateMeter:
    """Frames a second of each camera that is there, over the second half of every `for_s` seconds.

    A model's first frames are slow, and cameras come one after the other: the first half does not count.

    Args:
        for_s: 0: never a rate.
        clock: monotonic seconds.
    """

    def __init__(self, for_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._for_s = for_s
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Another model runs: begin anew."""
        self._began_s = self._looked_s = self._clock()
        self._camera_s = 0.0
        self._first: int | None = None

    def step(self, *, frames: int, cameras: int) -> float | None:
        """Look again, some times a second.

        Args:
            frames: processed since the start of the daemon.
            cameras: that give frames now.

        Returns:
            The rate when the time is over; None before, and where hardly a camera was there.
        """
        now_s = self._clock()
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        if not self._for_s or now_s - self._began_s < self._for_s / 2:
            return None
        if self._first is None:
            self._first = frames
            return None
        self._camera_s += cameras * passed_s
        if now_s - self._began_s < self._for_s:
            return None
        seen, camera_s = frames - self._first, self._camera_s
        self.restart()
        return seen / camera_s if camera_s >= LEAST_SEEN * self._for_s / 2 else None
