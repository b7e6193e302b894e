"""Tells a frozen camera from a scene in which nothing moves.

A frozen camera still sends frames, and nearly all of them decode to exactly the picture before. A static scene has
sensor noise, and nearly none do. So the share of identical consecutive pictures over a window decides, never one pair.
"""

from __future__ import annotations

from collections import deque

FROZEN_SHARE = 0.8  # of pairs that are identical; frozen sources reach 0.9, static noisy ones stay below 0.1
THAWED_SHARE = 0.5
LEAST_PAIRS = 4
BUCKETS = 20


class FrozenWatch:
    """Watches one camera.

    Args:
        after_s: length of the window, seconds; 0 = never frozen.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._bucket_s = max(after_s / BUCKETS, 0.1)
        self._buckets: deque[tuple[float, int, int]] = deque(maxlen=BUCKETS)  # start, pairs, identical ones
        self._began_s = -1.0
        self.frozen = False

    def add(self, now_s: float, *, same: bool) -> None:
        """Count one pair of consecutive pictures and decide again."""
        if not self._after_s:
            return
        if self._began_s < 0:
            self._began_s = now_s
        self._count(now_s, same=same)
        if self.frozen:
            self.frozen = _share(list(self._buckets)[-3:]) >= THAWED_SHARE
        elif now_s - self._began_s >= self._after_s:
            pairs = sum(bucket[1] for bucket in self._buckets)
            self.frozen = pairs >= LEAST_PAIRS and _share(self._buckets) >= FROZEN_SHARE

    def _count(self, now_s: float, *, same: bool) -> None:
        while self._buckets and now_s - self._buckets[0][0] > self._after_s + self._bucket_s:
            self._buckets.popleft()
        if self._buckets and now_s - self._buckets[-1][0] < self._bucket_s:
            start_s, pairs, identical = self._buckets.pop()
            self._buckets.append((start_s, pairs + 1, identical + same))
        else:
            self._buckets.append((now_s, 1, int(same)))


def _share(buckets: deque[tuple[float, int, int]] | list[tuple[float, int, int]]) -> float:
    pairs = sum(bucket[1] for bucket in buckets)
    return sum(bucket[2] for bucket in buckets) / pairs if pairs else 0.0
