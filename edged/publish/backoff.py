"""Delays before the next attempt to connect: short at first, with jitter, long after a refusal."""

from __future__ import annotations

import random

from edged.publish.options import MqttOptions

# A connection that lasted this long was stable; shorter ones in a row hint at two clients with one id.
STABLE_S = 10.0
SHORT_LIVED_IN_A_ROW = 3


class Backoff:
    """Delays between attempts, doubled from `reconnect_min_s` to `reconnect_max_s`.

    Each is reduced by up to half at random, so that not all devices connect to a restarted broker at once.
    """

    def __init__(self, options: MqttOptions) -> None:
        self._options = options
        self._delay_s = options.reconnect_min_s
        self._short_lived = 0

    def failed_s(self) -> float:
        """Seconds to wait after an attempt that failed."""
        self._short_lived = 0  # the broker has a problem: no other client takes over the id
        return self._next_s()

    def refused_s(self) -> float:
        """Seconds to wait after the broker refused this client."""
        return _jittered(self._options.refused_retry_s)

    def lost_s(self, lasted_s: float) -> float:
        """Seconds to wait after the loss of a connection that had been accepted."""
        if lasted_s >= STABLE_S:
            self._delay_s = self._options.reconnect_min_s
            self._short_lived = 0
        else:
            self._short_lived += 1
        return self._next_s()

    @property
    def contested(self) -> bool:
        """Whether connections are accepted and lost so quickly that another client may claim the same id."""
        return self._short_lived >= SHORT_LIVED_IN_A_ROW

    def _next_s(self) -> float:
        delay_s = self._delay_s
        self._delay_s = min(2 * delay_s, self._options.reconnect_max_s)
        return _jittered(delay_s)


def _jittered(delay_s: float) -> float:
    return delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
