"""A thread's heartbeat, which the watchdog reads."""

from __future__ import annotations

import math


class Pulse:
    """One thread beats, any thread may read. Needs no lock: each value is replaced as a whole.

    Attributes:
        beats: number of beats so far.
        allowed_s: how long it may be silent from its last beat on; infinite before it starts and after it ended.
    """

    def __init__(self) -> None:
        self.beats = 0
        self.allowed_s = math.inf

    def beat(self, *, within_s: float) -> None:
        """The thread made progress or has nothing to do; its next beat comes within `within_s` seconds."""
        self.allowed_s = within_s
        self.beats += 1

    def end(self) -> None:
        """The thread ends: no further beat is expected."""
        self.allowed_s = math.inf
