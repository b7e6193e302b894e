"""Notifies systemd: ready, status, watchdog, reloading, stopping."""

from __future__ import annotations

import time
from collections.abc import Callable

from edged.core.redact import redact
from edged.health import notify_systemd

STATUS_EVERY_S = 1.0


class Systemd:
    """Sends each notification when it is true; does nothing without systemd.

    Args:
        grace_s: reports ready after this time even without a frame.
    """

    def __init__(self, *, grace_s: float) -> None:
        self.grace_s = grace_s
        self._began_s = time.monotonic()
        self._ready = False
        self._status_due_s = 0.0

    def loading(self) -> None:
        """The model is being loaded for the first time."""
        notify_systemd("STATUS=loading the model")

    def alive(self, *, frames: int, status: Callable[[], str]) -> None:
        """Every stage makes progress: feed the watchdog, and send `READY=1` and the status when due."""
        lines = ["WATCHDOG=1"]
        now_s = time.monotonic()
        if not self._ready and (frames or now_s - self._began_s > self.grace_s):
            self._ready = True
            lines.append("READY=1")
            self._status_due_s = now_s
        if now_s >= self._status_due_s:
            self._status_due_s = now_s + STATUS_EVERY_S
            lines.append(f"STATUS={status()}")
        notify_systemd(*lines)

    def reloading(self) -> None:
        """A reload begins."""
        if self._ready:
            notify_systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """The reload ended, with or without success."""
        if self._ready:
            notify_systemd("READY=1")
            self._status_due_s = 0.0

    def stopping(self, why: str) -> None:
        """The daemon begins to stop."""
        notify_systemd("STOPPING=1", f"STATUS={redact(why)}")
