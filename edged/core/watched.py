"""What a camera is watched for, as sinks need to know it before anything was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Watched:
    """One camera, and what is said of it besides detections.

    Attributes:
        camera: its name.
        labels: classes that are counted from the start: those that the configuration names, or all of a model that
            knows few; others are counted once they were seen.
        zones, lines: such classes of each zone and line, by its name.
        followed: objects are followed: there are events and counts.
        pictured: there are snapshots of them.
    """

    camera: str
    labels: tuple[str, ...] = ()
    zones: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    followed: bool = True
    pictured: bool = True
