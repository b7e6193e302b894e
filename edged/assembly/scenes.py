"""Converts settings to the options of analysis, and checks them against the model."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from edged.analysis.options import (
    DEFAULT_FILTER,
    EventOptions,
    FilterOptions,
    LineOptions,
    MaskOptions,
    SceneOptions,
    TrackOptions,
    ZoneOptions,
)
from edged.assembly.model import listed
from edged.config.camera import Camera
from edged.config.schema import Settings
from edged.core.errors import ConfigError
from edged.core.options import shared
from edged.core.watched import Area, Watched

FEW_CLASSES = 10  # all of such a model are counted from the start


def scene_options(settings: Settings, *, classes: Sequence[str], model: str) -> dict[str, SceneOptions]:
    """Analysis's options of each camera, by name.

    Args:
        settings: as configured.
        classes: that the model knows.
        model: name of the bundle, for messages.

    Raises:
        ConfigError: a label that the model does not know.
    """
    _require_known(settings, classes, model)
    shown = tuple(dict.fromkeys(label for _, label in _named(settings)))
    if not settings.model.classes and len(classes) <= FEW_CLASSES:
        shown = tuple(classes)
    filters = {label: FilterOptions(**shared(FilterOptions, limits)) for label, limits in settings.filter.items()}
    return {
        camera.name: SceneOptions(
            track=TrackOptions(**shared(TrackOptions, settings.track)),
            events=EventOptions(**shared(EventOptions, settings.events)),
            filters=filters,
            zones=tuple(ZoneOptions(**shared(ZoneOptions, zone)) for zone in camera.zone),
            lines=tuple(LineOptions(**shared(LineOptions, line)) for line in camera.line),
            masks=tuple(MaskOptions(**shared(MaskOptions, mask)) for mask in camera.mask),
            shown=shown,
        )
        for camera in settings.camera
    }


def watched_cameras(settings: Settings, scenes: Mapping[str, SceneOptions]) -> tuple[Watched, ...]:
    """What sinks are told of each camera.

    Args:
        settings: as configured.
        scenes: made of them by `scene_options`.
    """
    followed = settings.track.enabled
    titles = {camera.name: camera.title for camera in settings.camera}
    return tuple(
        Watched(
            name,
            title=titles.get(name, ""),
            labels=scene.shown,
            zones={zone.name: zone.labels or scene.shown for zone in scene.zones},
            lines={line.name: line.labels or scene.shown for line in scene.lines},
            followed=followed,
            pictured=followed and settings.snapshots.enabled,
            areas=tuple(_areas(scene)) if followed else (),
        )
        for name, scene in scenes.items()
    )


def _areas(scene: SceneOptions) -> Iterator[Area]:
    yield from (Area("zone", zone.name, zone.points, zone.labels) for zone in scene.zones)
    yield from (Area("line", line.name, line.points, line.labels) for line in scene.lines)
    yield from (Area("mask", "", mask.points, mask.labels) for mask in scene.masks)


def _named(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every label that the configuration names, and where."""
    yield from (("[model] classes", label) for label in settings.model.classes)
    yield from ((f"[filter.{label}]", label) for label in settings.filter if label != DEFAULT_FILTER)
    for camera in settings.camera:
        yield from _of_camera(camera)


def _of_camera(camera: Camera) -> Iterator[tuple[str, str]]:
    for kind, areas in (("zone", camera.zone), ("line", camera.line)):
        for area in areas:
            yield from ((f"{kind} {area.name} of camera {camera.name}: labels", label) for label in area.labels)


def _require_known(settings: Settings, classes: Sequence[str], model: str) -> None:
    masked = [
        (f"mask of camera {camera.name}: labels", label)
        for camera in settings.camera
        for mask in camera.mask
        for label in mask.labels
    ]
    loitering = [
        (f"zone {zone.name} of camera {camera.name}: loiter_s", label)
        for camera in settings.camera
        for zone in camera.zone
        if isinstance(zone.loiter_s, dict)
        for label in zone.loiter_s
    ]
    for where, label in (*_named(settings), *masked, *loitering):
        if label not in classes:
            near = difflib.get_close_matches(label, classes, n=1)
            hint = f"did you mean {near[0]!r}?" if near else listed(classes)
            raise ConfigError(f"{where}: {label!r} is not a class of {model}; {hint}")
