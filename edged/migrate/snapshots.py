"""Frigate's snapshots -> `[snapshots]`, which holds for all cameras of edged."""

from __future__ import annotations

from collections.abc import Iterator

from edged.config.watching import Snapshots
from edged.migrate.reasons import accepted
from edged.migrate.remarks import each_remark
from edged.migrate.sections import Section
from edged.migrate.toml import remark, settings

_OTHERS = {
    "bounding_box": "edged draws the object's box; clean = true stores a second picture without it",
    "height": "edged keeps the size, or makes a picture smaller that is too large for MQTT",
    "quality": "edged takes the best quality that is small enough for MQTT",
    "required_zones": "edged takes a picture of every object that counts",
    "timestamp": "edged draws no time into pictures; the event says it",
}
_RETAIN = {
    "mode": "edged keeps every picture",
    "objects": "edged keeps pictures of all classes for max_days, and removes the oldest first",
}


def snapshot_lines(snapshots: Section) -> Iterator[str]:
    """`[snapshots]`, where Frigate's file says something of it for all cameras."""
    retain = snapshots.section("retain")
    wanted: dict[str, object] = {
        "enabled": snapshots.flag("enabled"),
        "clean": snapshots.flag("clean_copy"),
        "crop": snapshots.flag("crop"),
        "max_days": retain.number("default"),
    }
    kept, refused = accepted(Snapshots, {key: value for key, value in wanted.items() if value is not None})
    known = {"enabled", "clean_copy", "crop", "retain"}
    remarks = each_remark(snapshots, _OTHERS, known=known, prefix="snapshots.")
    remarks += each_remark(retain, _RETAIN, known={"default"}, prefix="snapshots.retain.")
    remarks += [f"{name}: {reason}" for name, reason in refused.items()]
    if kept or remarks:
        yield from ("", "[snapshots]")
        yield from (remark(text) for text in remarks)
        yield from settings(kept)
