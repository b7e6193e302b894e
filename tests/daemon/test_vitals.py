"""Only a stage that makes no progress is called hung, whatever happens to the clock or to the watcher itself."""

from __future__ import annotations

import logging

import pytest

from edged.core.pulse import Pulse
from edged.daemon.vitals import Vitals, WallClock
from edged.health import FIRST_FRAME_S, HANG_S, Health


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def looks(watch: Vitals, clock: Clock, seconds: float, *, beating: Pulse | None = None) -> str:
    """Look twice a second for so long; the last word."""
    said = ""
    for _ in range(int(seconds * 2)):
        clock.now_s += 0.5
        if beating is not None:
            beating.beat(within_s=beating.allowed_s)
        said = watch.hung() or said
    return said


def test_vitals_stage_that_beats_is_never_hung() -> None:
    clock, pulse = Clock(), Pulse()
    pulse.beat(within_s=2.0)
    assert not looks(Vitals({"capture": pulse}, clock=clock), clock, 60, beating=pulse)


def test_vitals_stage_that_is_silent_for_too_long_is_named() -> None:
    clock, pulse, other = Clock(), Pulse(), Pulse()
    pulse.beat(within_s=2.0)
    watch = Vitals({"other": other, "capture": pulse}, clock=clock)
    assert not looks(watch, clock, 2)
    assert looks(watch, clock, 1) == "capture hangs: no progress for 3 s"


def test_vitals_stage_that_did_not_begin_or_has_ended_may_be_silent() -> None:
    clock, pulse = Clock(), Pulse()
    watch = Vitals({"capture": pulse}, clock=clock)
    assert not looks(watch, clock, 100)
    pulse.beat(within_s=1.0)
    pulse.end()
    assert not looks(watch, clock, 100)


def test_vitals_a_process_that_was_stopped_as_a_whole_does_not_blame_its_stages() -> None:
    clock, pulse = Clock(), Pulse()
    pulse.beat(within_s=5.0)
    watch = Vitals({"capture": pulse}, clock=clock)
    for _ in range(4):
        clock.now_s += 3600.0  # SIGSTOP, or a frozen container
        assert not watch.hung()


def test_health_allows_the_first_frame_more_and_a_slow_model_what_it_needs() -> None:
    health = Health()
    assert health.allowed_s == FIRST_FRAME_S
    health._detect_ms.append(20.0)
    assert health.allowed_s == HANG_S
    health._detect_ms.append(3000.0)
    assert health.allowed_s == 60.0
    health.new_model()
    assert health.allowed_s == FIRST_FRAME_S


def test_wall_clock_step_is_said_and_slewing_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1_700_000_000.0, 50.0]
    monkeypatch.setattr("edged.daemon.vitals.time.time", lambda: now[0])
    monkeypatch.setattr("edged.daemon.vitals.time.monotonic", lambda: now[1])
    clock = WallClock()
    with caplog.at_level(logging.WARNING):
        now[:] = [now[0] + 10.01, now[1] + 10.0]
        clock.look()
        assert clock.steps == 0
        now[0] -= 3600.0
        clock.look()
        now[0] += 7200.0
        clock.look()
    assert clock.steps == 2
    assert [record.getMessage() for record in caplog.records] == [
        "the clock was set back by 3600 s: timestamps jump, timers do not",
        "the clock was set forward by 7200 s: timestamps jump, timers do not",
    ]
