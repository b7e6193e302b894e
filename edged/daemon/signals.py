"""Signals to stop and to reload, handled from the start of the process on."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType

HARD_STOP_S = 4.5  # after this time the kernel ends a process that hangs, and the broker publishes the will
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Notes signals while its context lasts: SIGTERM and SIGINT stop, SIGHUP reloads.

    Any number of SIGHUPs during a reload cause one more reload.
    """

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        # No threading.Event: a handler that sets one while its own thread is inside wait() would deadlock.
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._before: dict[int, object] = {}

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Note one signal; called in the main thread."""
        if number == signal.SIGHUP:
            self.reload = True
        elif not self.stop:
            self.stop = True
            limit_stop()
        os.eventfd_write(self._wake, 1)

    def wait(self, timeout_s: float) -> None:
        """Sleep until a signal comes, at most `timeout_s`."""
        self._poll.poll(int(timeout_s * 1000) + 1)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self.handle) for number in NUMBERS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(self._wake)


def limit_stop() -> None:
    """The process must end within `HARD_STOP_S` from now on; the kernel enforces it by SIGALRM."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, HARD_STOP_S)
