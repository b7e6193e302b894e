from __future__ import annotations

from edged.publish.backoff import SHORT_LIVED_IN_A_ROW, STABLE_S, Backoff
from edged.publish.options import MqttOptions

OPTIONS = MqttOptions("host", reconnect_min_s=0.5, reconnect_max_s=5.0, refused_retry_s=60.0)


def test_backoff_doubles_up_to_its_maximum_with_jitter() -> None:
    backoff = Backoff(OPTIONS)
    for full in (0.5, 1, 2, 4, 5, 5, 5):
        assert full / 2 <= backoff.failed_s() <= full
    assert len({Backoff(OPTIONS).failed_s() for _ in range(20)}) > 10, "devices must not come back in step"


def test_backoff_starts_over_after_a_connection_that_lasted() -> None:
    backoff = Backoff(OPTIONS)
    for _ in range(9):
        backoff.failed_s()
    assert backoff.lost_s(STABLE_S / 2) > 2
    assert backoff.lost_s(STABLE_S) <= 0.5


def test_backoff_refusals_are_far_apart() -> None:
    assert 30 <= Backoff(OPTIONS).refused_s() <= 60


def test_backoff_short_connections_in_a_row_are_contested_unless_the_broker_was_away() -> None:
    backoff = Backoff(OPTIONS)
    for _ in range(SHORT_LIVED_IN_A_ROW):
        assert not backoff.contested
        backoff.lost_s(0.1)
    assert backoff.contested
    backoff.failed_s()
    assert not backoff.contested
