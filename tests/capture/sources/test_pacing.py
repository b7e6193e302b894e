"""When frames are due."""

from __future__ import annotations

import pytest

from edged.capture.sources.pacing import Pacer


def test_pacer_unpaced_delivers_at_once() -> None:
    pacer = Pacer(paced=False, live=False, fps_limit=0, interval_s=0.1)
    assert [pacer.wait_s(index / 10, 100.0) for index in range(5)] == [0.0] * 5


def test_pacer_paced_waits_for_the_files_own_time() -> None:
    pacer = Pacer(paced=True, live=False, fps_limit=0, interval_s=0.1)
    assert pacer.wait_s(0.0, 50.0) == 0
    assert pacer.wait_s(0.1, 50.02) == pytest.approx(0.08)


def test_pacer_passes_over_what_is_late_and_catches_up() -> None:
    pacer = Pacer(paced=True, live=False, fps_limit=0, interval_s=0.1)
    pacer.wait_s(0.0, 50.0)
    assert pacer.wait_s(0.1, 50.5) < 0
    assert pacer.wait_s(0.45, 50.5) == 0


def test_pacer_slower_than_real_time_still_delivers() -> None:
    pacer = Pacer(paced=True, live=False, fps_limit=0, interval_s=0.1)
    waits = [pacer.wait_s(index / 10, 50.0 + index * 0.3) for index in range(60)]  # three times too slow
    assert sum(wait >= 0 for wait in waits) > 5


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(("rate", "limit"), [(30.0, 10.0), (25.0, 10.0), (30.0, 29.0), (10.0, 30.0)])
def test_pacer_limit_holds_on_average(rate: float, limit: float, *, live: bool) -> None:
    pacer = Pacer(paced=False, live=live, fps_limit=limit, interval_s=1 / rate)
    times = [index / rate + (0.004 if index % 2 else 0.0) for index in range(int(rate * 20))]  # jitter
    passed = sum(pacer.wait_s(time, time) >= 0 for time in times)
    assert passed == pytest.approx(min(rate, limit) * 20, abs=2)


def test_pacer_limit_does_not_catch_up_after_a_gap() -> None:
    pacer = Pacer(paced=False, live=True, fps_limit=10, interval_s=1 / 30)
    pacer.wait_s(0.0, 0.0)
    burst = [pacer.wait_s(0.0, 60 + index / 30) >= 0 for index in range(30)]
    assert sum(burst) <= 11
