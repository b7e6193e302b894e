"""How often pictures may be made."""

from __future__ import annotations

import pytest

from edged.feed.allowance import LEAST_SHARE, MOST_SHARE, Allowance


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("dropped", "share"), [(0, MOST_SHARE), (500, LEAST_SHARE)])
def test_pictures_take_no_more_than_the_share_over_any_time(dropped: int, share: float) -> None:
    clock = Clock()
    allowance = Allowance(clock)
    allowance.report(captured=0, dropped=0)
    allowance.report(captured=1000, dropped=dropped)
    spent_s = 0.0
    for cost_s in [0.010, 0.002, 0.050] * 40:
        clock.now_s += allowance.wait_s
        allowance.spend(cost_s)
        spent_s += cost_s
    clock.now_s += allowance.wait_s
    assert spent_s / (clock.now_s - 100.0) == pytest.approx(share)


def test_several_pictures_at_once_are_all_paid_for() -> None:
    clock = Clock()
    allowance = Allowance(clock)
    for _ in range(6):
        allowance.spend(0.010)
    assert allowance.wait_s == pytest.approx(6 * 0.010 / MOST_SHARE)


def test_a_time_without_pictures_is_not_saved_up() -> None:
    clock = Clock()
    allowance = Allowance(clock)
    clock.now_s += 3600.0
    allowance.spend(0.010)
    assert allowance.wait_s == pytest.approx(0.010 / MOST_SHARE)


def test_the_first_dropped_frames_lower_the_share_and_it_grows_again_by_and_by() -> None:
    allowance = Allowance()
    allowance.report(captured=300, dropped=0)
    allowance.report(captured=600, dropped=100)
    assert allowance.share == LEAST_SHARE
    shares = []
    for captured in range(900, 4200, 300):
        allowance.report(captured=captured, dropped=100)
        shares.append(allowance.share)
    assert shares == sorted(shares) and LEAST_SHARE < shares[0] < MOST_SHARE
    assert shares[-1] == MOST_SHARE


def test_frames_that_were_dropped_while_the_model_was_loaded_are_no_sign_of_it() -> None:
    allowance = Allowance()
    allowance.report(captured=300, dropped=200)
    allowance.report(captured=600, dropped=200)
    assert allowance.share == MOST_SHARE
    allowance.report(captured=900, dropped=400)
    assert allowance.share == LEAST_SHARE


def test_a_frame_now_and_then_is_no_sign_of_a_busy_detector() -> None:
    allowance = Allowance()
    allowance.report(captured=300, dropped=3)
    allowance.report(captured=300, dropped=3)  # nothing happened since
    assert allowance.share == MOST_SHARE
