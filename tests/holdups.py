"""How long the machine itself held this process up, so that a test of waiting does not test a busy machine."""

from __future__ import annotations

import threading
import time
from types import TracebackType

_STEP_S = 0.02


class HoldUps:
    """A thread that wants to wake every 20 ms, and how late it was: other programs or threads had the processor.

    Attributes:
        longest_s: the longest delay.
        total_s: all of them.
    """

    def __init__(self) -> None:
        self.longest_s = self.total_s = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hold-ups", daemon=True)

    def _watch(self) -> None:
        done = False
        while not done:  # once more after the end: a delay that began before counts
            due = time.monotonic() + _STEP_S
            done = self._done.is_set()
            time.sleep(_STEP_S)
            late_s = time.monotonic() - due
            self.total_s += late_s
            self.longest_s = max(self.longest_s, late_s)

    def __enter__(self) -> HoldUps:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()


class FairTime:
    """The seconds that a block takes, less those for which the machine held this process up.

    Attributes:
        seconds: known after the block.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._held = HoldUps()
        self._began = 0.0

    def __enter__(self) -> FairTime:
        self._held.__enter__()
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took_s = time.monotonic() - self._began
        self._held.__exit__(kind, error, trace)
        self.seconds = took_s - self._held.total_s
