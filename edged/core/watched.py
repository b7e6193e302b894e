"""What a camera is watched for, as sinks need to know it before anything was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Area:
    """A zone, line or mask of a camera.

    Attributes:
        kind: what it is.
        name: of a zone or line; a mask has none.
        points: fractions of the upright picture; of a line two, an arrow.
        labels: what counts there; empty: everything.
    """

    kind: Literal["zone", "line", "mask"]
    name: str
    points: tuple[tuple[float, float], ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """One camera, and what is said of it besides detections.

    Attributes:
        camera: its name.
        title: what people call it; empty: its name.
        labels: classes that are counted from the start: those that the configuration names, or all of a model that
            knows few; others are counted once they were seen.
        zones, lines: such classes of each zone and line, by its name.
        followed: objects are followed: there are events and counts.
        pictured: there are snapshots of them.
        areas: its zones, lines and masks.
    """

    camera: str
    title: str = ""
    labels: tuple[str, ...] = ()
    zones: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    followed: bool = True
    pictured: bool = True
    areas: tuple[Area, ...] = ()
