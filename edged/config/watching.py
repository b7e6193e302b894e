"""What counts in a picture: tracking, filters, events, snapshots, and the areas and lines of a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator

from edged.analysis.geometry import Point, require_points, require_polygon
from edged.analysis.options import (
    EventOptions,
    FilterOptions,
    LineOptions,
    MaskOptions,
    SnapshotOptions,
    TrackOptions,
    ZoneOptions,
    require_order,
)
from edged.config.section import Section, TopicName


def _polygon(value: tuple[Point, ...]) -> tuple[Point, ...]:
    require_polygon(value)
    return value


def _arrow(value: tuple[Point, ...]) -> tuple[Point, ...]:
    require_points(value, least=2, most=2)
    return value


class Track(Section, TrackOptions, frozen=True):
    """`[track]`."""


class Filter(Section, FilterOptions, frozen=True):
    """`[filter.LABEL]`."""

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Filter:
        require_order(self)
        return self


class Events(Section, EventOptions, frozen=True):
    """`[events]`."""


class Snapshots(Section, SnapshotOptions, frozen=True):
    """`[snapshots]`."""

    directory: Path | None = None


class Zone(Section, ZoneOptions, frozen=True):
    """`[[camera.zone]]`."""

    name: TopicName
    points: Annotated[tuple[Point, ...], AfterValidator(_polygon)]


class Line(Section, LineOptions, frozen=True):
    """`[[camera.line]]`."""

    name: TopicName
    points: Annotated[tuple[Point, ...], AfterValidator(_arrow)]


class Mask(Section, MaskOptions, frozen=True):
    """`[[camera.mask]]`."""

    points: Annotated[tuple[Point, ...], AfterValidator(_polygon)]
