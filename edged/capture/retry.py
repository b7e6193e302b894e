"""When an absent camera is tried again: after pauses that grow, or at once when knocking finds it back."""

from __future__ import annotations

import selectors
from collections.abc import Callable

from edged.capture.doorbell import EVERY_S, Doorbell

FORCED_S = 300.0  # a child is started as often, even where knocking found nobody: names move to other addresses

NURSERY_WAIT_S = 0.1


class Retry:
    """Decides for one camera. Used in the supervisor's thread.

    Args:
        pause_s: how long to wait after so many failures in a row; `auth` where the password was refused.
        selector: to hear of answers to knocks.
    """

    def __init__(self, pause_s: Callable[[int, bool], float], selector: selectors.BaseSelector) -> None:
        self._pause_after = pause_s
        self._selector = selector
        self._failures = 0
        self._pause_s = 0.0
        self._due_s = 0.0
        self._forced_s = 0.0
        self._doorbell: Doorbell | None = None

    @property
    def next_s(self) -> float:
        """When to ask `is_due` again, monotonic."""
        return self._due_s if self._doorbell is None else min(self._due_s, self._doorbell.due_s)

    def is_due(self, now_s: float) -> bool:
        """Whether to start a child now; not if it is known that it would find nobody."""
        if now_s < self._due_s:
            if self._doorbell is not None:
                self._doorbell.step(now_s)
            return False
        shut = self._doorbell is not None and self._doorbell.shut
        if shut and self._pause_s > EVERY_S and now_s < self._forced_s:
            self._due_s = now_s + self._pause_s
            return False
        self._forced_s = now_s + FORCED_S
        return True

    def postpone(self, now_s: float) -> None:
        """A little later, for no fault of the camera's."""
        self._due_s = now_s + NURSERY_WAIT_S

    def failed(self, now_s: float, *, auth: bool) -> None:
        """One failure more in a row."""
        self._failures += 1
        self._pause_s = self._pause_after(self._failures, auth)
        self._due_s = now_s + self._pause_s

    def forget_failures(self) -> None:
        """The next pause is the first one again."""
        self._failures = 0

    def begin_anew(self) -> None:
        """As if it had never failed."""
        self.stop_listening()
        self._failures = 0
        self._due_s = 0.0

    def listen(self, place: str) -> None:
        """Knock there from now on."""
        self.stop_listening()
        self._doorbell = Doorbell(place, self._selector, self._come_back)

    def stop_listening(self) -> None:
        """No more knocks; safe to call twice."""
        if self._doorbell is not None:
            self._doorbell.close()
            self._doorbell = None

    def _come_back(self) -> None:
        self._due_s = 0.0
