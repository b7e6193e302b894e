"""Watches that every stage makes progress, and notices steps of the wall clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

STEP_S = 1.0  # a larger difference to the monotonic clock means that the wall clock was set
_LOOK_S = 1.0  # most that one check adds to a stage's silence: if this process was stopped, so was the stage

logger = logging.getLogger(__name__)


class Lively(Protocol):
    """A stage whose thread beats, such as `edged.core.pulse.Pulse`."""

    @property
    def beats(self) -> int:
        """Number of beats so far."""
        ...

    @property
    def allowed_s(self) -> float:
        """Longest time without a beat, seconds."""
        ...


class Vitals:
    """Tells which stage hangs. One thread checks, about twice a second.

    Args:
        stages: by the name that the log shows.
        clock: monotonic seconds.
    """

    def __init__(self, stages: Mapping[str, Lively], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stages = stages
        self._clock = clock
        self._looked_s = clock()
        self._beats = {name: stage.beats for name, stage in stages.items()}
        self._silent_s = dict.fromkeys(stages, 0.0)

    def hung(self) -> str:
        """What hangs and for how long, for people; empty while every stage beats in time."""
        now_s = self._clock()
        passed_s = min(now_s - self._looked_s, _LOOK_S)
        self._looked_s = now_s
        for name, stage in self._stages.items():
            if stage.beats != self._beats[name]:
                self._beats[name] = stage.beats
                self._silent_s[name] = 0.0
                continue
            self._silent_s[name] += passed_s
            if self._silent_s[name] > stage.allowed_s:
                return f"{name} hangs: no progress for {self._silent_s[name]:.0f} s"
        return ""


class WallClock:
    """Notices when the wall clock is set: timers do not depend on it, but consumers of timestamps must know.

    Attributes:
        steps: how often it was set.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._offset_s = time.time() - time.monotonic()

    def look(self) -> None:
        """Count and log a step since the last call."""
        offset_s = time.time() - time.monotonic()
        step_s = offset_s - self._offset_s
        self._offset_s = offset_s
        if abs(step_s) > STEP_S:
            self.steps += 1
            way = "forward" if step_s > 0 else "back"
            logger.warning("the clock was set %s by %.0f s: timestamps jump, timers do not", way, abs(step_s))
