"""Counts the objects of a camera and of its zones."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from edged.analysis.occurrence import Ground, Occurrence
from edged.core.events import Count

LabelCounts = dict[str, Count]


def count(
    occurrences: Iterable[Occurrence], ground: Ground, *, shown: Collection[str]
) -> tuple[LabelCounts, dict[str, LabelCounts]]:
    """How many objects there are by label, and by zone and label.

    Args:
        occurrences: whose events are open.
        ground: zones of the camera.
        shown: labels that are counted even where there is no such object: 0 is an answer, too.
    """
    labels = dict.fromkeys(shown, Count())
    zones = {name: dict.fromkeys(counted(zone.options.labels, shown), Count()) for name, zone in ground.zones.items()}
    for each in occurrences:
        for table in (labels, *(zones[zone] for zone in each.zones if zone in zones)):
            before = table.get(each.track.label, Count())
            table[each.track.label] = Count(before.all + 1, before.active + (not each.stationary))
    return labels, zones


def counted(labels: Collection[str], shown: Collection[str]) -> Collection[str]:
    """The labels that a zone or line shows: its own, or where it has none all."""
    return labels or shown
