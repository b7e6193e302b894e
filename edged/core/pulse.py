"""A thread's sign of life, for whoever watches over it."""

from __future__ import annotations

import math


class Pulse:
    """One thread beats, any other may look. Nothing is locked: both values are replaced whole.

    Attributes:
        beats: how often the thread was heard of.
        allowed_s: how long it may be silent from its last beat on; infinite before it starts and after it ended.
    """

    def __init__(self) -> None:
        self.beats = 0
        self.allowed_s = math.inf

    def beat(self, *, within_s: float) -> None:
        """I moved, or know that there is nothing to do; the next beat comes within `within_s`."""
        self.allowed_s = within_s
        self.beats += 1

    def end(self) -> None:
        """No further beat will come, and none is missed."""
        self.allowed_s = math.inf
