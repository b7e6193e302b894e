"""Divides the cores: a single frame gets all of them; of several frames each gets one."""

from __future__ import annotations

import threading


class CoreArbiter:
    """Divides the cores among frames under way. Every method may be called from any thread.

    The decision is made when a frame is ready for the model, so that frames submitted meanwhile count. Once frames run
    in parallel they do so until none is under way: in a continuous flow a frame is alone only for a moment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all_free = threading.Condition(self._lock)
        self._expected = 0
        self._one_has_all = False
        self._in_a_row = False

    def expect(self, frames: int) -> None:
        """So many more frames will call `take`."""
        with self._lock:
            self._in_a_row &= self._expected > 0
            self._expected += frames

    def take(self) -> bool:
        """Wait for cores. True: the frame has all of them and must give them `back`; False: it has one."""
        with self._lock:
            # In parallel with a run on all cores both would take longer than one after the other.
            while self._one_has_all:
                self._all_free.wait()
            self._in_a_row |= self._expected > 1
            self._one_has_all = not self._in_a_row
            return self._one_has_all

    def back(self) -> None:
        """The run on all cores has ended."""
        with self._lock:
            self._one_has_all = False
            self._all_free.notify_all()

    def done(self) -> None:
        """A frame has ended; once for each that was expected."""
        with self._lock:
            self._expected -= 1
