"""Shares the cores: a lone frame gets all of them; of several frames each gets one."""

from __future__ import annotations

import threading


class CoreArbiter:
    """Shares the cores out among frames under way. Every method may be called from any thread.

    Decided when the picture is ready for the model, so that a frame that came meanwhile counts. Once frames run side by
    side they do until none is under way: in a row of frames one is alone only until the next is taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all_free = threading.Condition(self._lock)
        self._expected = 0
        self._one_has_all = False
        self._in_a_row = False

    def expect(self, frames: int) -> None:
        """So many more will ask for their share."""
        with self._lock:
            self._in_a_row &= self._expected > 0
            self._expected += frames

    def take(self) -> bool:
        """Wait for a share; whether it is every core, which must then be given `back`."""
        with self._lock:
            # Beside a run on every core both would take longer than one after the other.
            while self._one_has_all:
                self._all_free.wait()
            self._in_a_row |= self._expected > 1
            self._one_has_all = not self._in_a_row
            return self._one_has_all

    def back(self) -> None:
        """Every core is free again."""
        with self._lock:
            self._one_has_all = False
            self._all_free.notify_all()

    def done(self) -> None:
        """A frame needs no core any more."""
        with self._lock:
            self._expected -= 1
