"""Decides when a grabbed frame is due: real time for files, and the fps limit."""

from __future__ import annotations

RESYNC_S = 1.0  # a file that lags more is read too slowly: its clock is set back, else every frame would be skipped


class Pacer:
    """Decides for each grabbed frame: deliver now, deliver after a wait, or skip.

    Args:
        paced: frames are delivered at their media time (a file in real time).
        live: the limit counts by the clock, not by media time.
        fps_limit: most frames per second; 0 = all.
        interval_s: between two frames of the stream, seconds; 0 where unknown.
    """

    def __init__(self, *, paced: bool, live: bool, fps_limit: float, interval_s: float) -> None:
        self._paced = paced
        self._live = live
        self._step_s = 1 / fps_limit if fps_limit else 0.0
        self._interval_s = interval_s
        self._origin_s: float | None = None
        self._next_s = float("-inf")

    def wait_s(self, position_s: float, now_s: float) -> float:
        """Seconds until the frame is due, 0 = now; negative: skip it.

        Args:
            position_s: media time of the frame, continuous over loops.
            now_s: monotonic clock.
        """
        time_s = now_s if self._live else position_s
        if self._step_s and not self._within_limit(time_s):
            return -1.0
        return self._lag_checked(position_s, now_s) if self._paced else 0.0

    def _within_limit(self, time_s: float) -> bool:
        # A frame may be early by half an interval, else jitter around the limit would halve the rate.
        if time_s < self._next_s - self._interval_s / 2:
            return False
        behind = time_s - self._next_s > self._step_s
        self._next_s = (time_s if behind else self._next_s) + self._step_s
        return True

    def _lag_checked(self, position_s: float, now_s: float) -> float:
        if self._origin_s is None:
            self._origin_s = now_s - position_s
        lag_s = now_s - self._origin_s - position_s
        if lag_s > RESYNC_S:
            self._origin_s = now_s - position_s
            return 0.0
        if lag_s > max(self._interval_s, self._step_s):
            return -1.0
        return max(-lag_s, 0.0)
