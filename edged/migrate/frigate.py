"""A configuration of Frigate (0.14 and newer) as an edged.toml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edged.config.schema import Log
from edged.core.errors import DataError
from edged.migrate.broker import mqtt_lines, publish_lines
from edged.migrate.cameras import FrigateCamera, camera_lines, fps_of, read_cameras
from edged.migrate.filters import filter_lines
from edged.migrate.nodes import read_yaml
from edged.migrate.reasons import accepted
from edged.migrate.remarks import each_remark, general_remarks
from edged.migrate.sections import Section
from edged.migrate.snapshots import snapshot_lines
from edged.migrate.toml import remark, setting, settings
from edged.migrate.track import track_lines

_MOST_NAMED = 5
_LEVELS = {"critical": "error"}
_MODEL = "the model is a bundle: `edged-provision fetch --list` names weights, `edged-provision import` reads yours"
_ENGINE = "[engine] chooses where the model runs, by itself where it says nothing"


def edged_toml(path: Path) -> tuple[str, int]:
    """The text of an edged.toml that `load_settings` accepts, and how many cameras it watches.

    No password of the file is in it: comments say how to give each.

    Args:
        path: Frigate's config.yml.

    Raises:
        ConfigError: the file cannot be read.
        DataError: it is not YAML, a value has another type, or no camera is left to watch.
    """
    root = Section(read_yaml(path))
    cameras = read_cameras(root)
    watched = [camera for camera in cameras if not camera.left_out]
    if not watched:
        raise _nothing_to_watch(path, cameras)
    lines = [
        *_head(path, root),
        *_model_lines(root, watched),
        *mqtt_lines(root.section("mqtt")),
        *publish_lines(root.section("mqtt")),
        *track_lines(root.section("detect"), fps=fps_of(root.section("detect"))),
        *snapshot_lines(root.section("snapshots")),
        *_log_lines(root.section("logger")),
        *filter_lines(watched),
        *(line for camera in cameras for line in camera_lines(camera)),
    ]
    return "\n".join(lines) + "\n", len(watched)


def _nothing_to_watch(path: Path, cameras: Sequence[FrigateCamera]) -> DataError:
    reasons = [f"{camera.given}: {camera.left_out}" for camera in cameras[:_MOST_NAMED]]
    more = [f"{len(cameras) - _MOST_NAMED} more"] if len(cameras) > _MOST_NAMED else []
    found = "; ".join([*reasons, *more]) or "there are none"
    return DataError(
        f"{path}: cameras: expected one that edged can watch; {found}", remedy="correct one, run this again"
    )


def _head(path: Path, root: Section) -> Iterator[str]:
    yield remark(f"Made by `edged migrate frigate` from {path.name}. Comments say what edged does in another way.")
    yield remark("Then: edged check --config FILE, which opens every camera and connects to the broker.")
    yield from (remark(text) for text in general_remarks(root))


def _model_lines(root: Section, watched: Sequence[FrigateCamera]) -> Iterator[str]:
    yield from ("", "[model]")
    if root.node("model"):
        yield remark(f"model: {_MODEL}")
    if root.node("detectors"):
        yield remark(f"detectors: {_ENGINE}")
    tracked = {camera.name: camera.tracked for camera in watched}
    if len({frozenset(labels) for labels in tracked.values()}) > 1:
        yield remark("objects.track: cameras differ in Frigate; edged looks for these classes on all of them.")
        yield remark("A [[camera.mask]] over the whole picture with labels = [...] takes a class from one camera.")
        yield from (remark(f"{camera}: {', '.join(labels) or 'none'}") for camera, labels in tracked.items())
    yield remark("Each must be a class of the model: `edged check` names those that it does not know.")
    classes = dict.fromkeys(label for labels in tracked.values() for label in labels)
    yield setting("classes", tuple(classes))


def _log_lines(logger: Section) -> Iterator[str]:
    remarks = each_remark(logger, {}, known={"default"}, prefix="logger.")
    level = logger.text("default").lower()
    kept, refused = accepted(Log, {"level": _LEVELS.get(level, level)} if level else {})
    if remarks or level:
        yield from ("", "[log]")
        yield from (remark(text) for text in [*remarks, *(f"{name}: {why}" for name, why in refused.items())])
        yield from settings(kept)
