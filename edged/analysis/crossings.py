"""How many objects crossed each line, in all runs of the daemon together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from edged.core.events import Carried, Direction, LineKey

LineCounts = dict[str, dict[str, dict[Direction, int]]]


class Crossings:
    """Counts crossings; one thread uses it.

    Args:
        since: UTC, the start of this run.

    Attributes:
        since: UTC, when the counting began: earlier than this run where an earlier count was carried over.
    """

    def __init__(self, since: datetime) -> None:
        self.since = since
        self._counts: Counter[LineKey] = Counter()

    def add(self, key: LineKey) -> None:
        """Count one."""
        self._counts[key] += 1

    def carry(self, carried: Carried) -> None:
        """Add what earlier runs counted."""
        self._counts.update(carried.crossings)
        self.since = min(self.since, carried.since)

    def of(self, camera: str, lines: Mapping[str, Iterable[str]]) -> LineCounts:
        """Counts of a camera by line, label and direction.

        Args:
            camera: its name.
            lines: for each of its lines the labels that are shown even with no crossing yet.
        """
        counts: LineCounts = {line: {label: {"in": 0, "out": 0} for label in labels} for line, labels in lines.items()}
        for key, number in self._counts.items():
            if key.camera == camera and key.line in counts:
                counts[key.line].setdefault(key.label, {"in": 0, "out": 0})[key.direction] = number
        return counts
