"""When an absent camera is tried again: after growing pauses, or at once when a probe reaches it again."""

from __future__ import annotations

import selectors
from collections.abc import Callable

from edged.capture.parent.reachability import EVERY_S, ReachabilityWatch

FORCED_S = 300.0  # longest time between attempts even if probes fail: a name may have got another address

FORKSERVER_WAIT_S = 0.1


class Retry:
    """Decides for one camera. Used in the supervisor's thread.

    Args:
        pause_s: how long to wait after so many failures in a row; `auth` where the password was refused.
        selector: watches the probes.
    """

    def __init__(self, pause_s: Callable[[int, bool], float], selector: selectors.BaseSelector) -> None:
        self._pause_after = pause_s
        self._selector = selector
        self._failures = 0
        self._pause_s = 0.0
        self._due_s = 0.0
        self._forced_s = 0.0
        self._watch: ReachabilityWatch | None = None

    @property
    def next_s(self) -> float:
        """When to ask `is_due` again, monotonic."""
        return self._due_s if self._watch is None else min(self._due_s, self._watch.due_s)

    def is_due(self, now_s: float) -> bool:
        """Whether to start a child now; False while probes show that it cannot connect."""
        if now_s < self._due_s:
            if self._watch is not None:
                self._watch.step(now_s)
            return False
        unreachable = self._watch is not None and self._watch.unreachable
        if unreachable and self._pause_s > EVERY_S and now_s < self._forced_s:
            self._due_s = now_s + self._pause_s
            return False
        self._forced_s = now_s + FORCED_S
        return True

    def postpone(self, now_s: float) -> None:
        """Try a little later; does not count as a failure."""
        self._due_s = now_s + FORKSERVER_WAIT_S

    def failed(self, now_s: float, *, auth: bool) -> None:
        """Count a failure and set the pause until the next attempt."""
        self._failures += 1
        self._pause_s = self._pause_after(self._failures, auth)
        self._due_s = now_s + self._pause_s

    def forget_failures(self) -> None:
        """The next pause is the first one again."""
        self._failures = 0

    def begin_anew(self) -> None:
        """Forget everything: the next attempt is due at once."""
        self.stop_watching()
        self._failures = 0
        self._due_s = 0.0

    def watch(self, endpoint: str) -> None:
        """Probe this endpoint from now on."""
        self.stop_watching()
        self._watch = ReachabilityWatch(endpoint, self._selector, self._come_back)

    def stop_watching(self) -> None:
        """No more probes; safe to call twice."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _come_back(self) -> None:
        self._due_s = 0.0
