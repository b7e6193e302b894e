"""One tracked object: what was seen of it, when, and how sure."""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass, field

Box = tuple[float, float, float, float]  # x1, y1, x2, y2, frame pixels
SCORES_KEPT = 101  # latest; odd, so that the median is one of them


@dataclass(slots=True, eq=False)
class Track:
    """An object of one camera. Times are CLOCK_MONOTONIC, seconds.

    Attributes:
        serial: number of this track within its tracker, from 1.
        first_s, last_s: when it was first and last seen.
        box: where it was last seen.
        score: of the latest detection, 0..1.
        top: highest score.
        hits: frames in which it was seen.
        misses: frames that were looked at, since it was last seen, without finding it.
        absent_s: how long it was looked for since then, in vain; time in which nobody looked does not count.
        missed: frames that were looked at between the first and the last sight of it, without finding it.
    """

    serial: int
    first_s: float
    last_s: float
    box: Box
    score: float
    label: str
    top: float = 0.0
    hits: int = 0
    misses: int = 0
    absent_s: float = 0.0
    missed: int = 0
    confirmed: bool = False
    _votes: dict[str, float] = field(default_factory=dict)
    _scores: deque[float] = field(default_factory=lambda: deque(maxlen=SCORES_KEPT))
    _ranked: list[float] = field(default_factory=list)

    def see(self, at_s: float, box: Box, score: float, label: str) -> None:
        """Note a detection of this object."""
        self.last_s, self.box, self.score = at_s, box, score
        self.top = max(self.top, score)
        self.hits += 1
        self.missed += self.misses
        self.misses, self.absent_s = 0, 0.0
        self._votes[label] = self._votes.get(label, 0.0) + score
        if self._votes[label] > self._votes.get(self.label, 0.0):
            self.label = label
        if len(self._scores) == SCORES_KEPT:
            self._ranked.remove(self._scores[0])
        self._scores.append(score)
        insort(self._ranked, score)

    @property
    def median(self) -> float:
        """Median of its latest `SCORES_KEPT` scores; of an even number the higher of the middle two."""
        return self._ranked[len(self._ranked) // 2]

    @property
    def age_s(self) -> float:
        """From the first to the last sight of it, seconds."""
        return self.last_s - self.first_s
