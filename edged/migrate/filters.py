"""Frigate's object filters -> `[filter.CLASS]`, which hold for all cameras of edged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edged.analysis.options import DEFAULT_FILTER
from edged.config.watching import Filter
from edged.migrate.cameras import FrigateCamera
from edged.migrate.reasons import accepted
from edged.migrate.remarks import each_remark
from edged.migrate.toml import key, remark, settings

_KEYS = {"min_score": "min_score", "threshold": "confirm_score"}  # Frigate's: edged's
_KEYS |= {name: name for name in ("min_area", "max_area", "min_ratio", "max_ratio")}
_UPPER = {"max_area": 1.0, "max_ratio": 100.0}  # edged's highest
_NO_LIMIT = 24_000_000  # Frigate's default of max_area and max_ratio
_DIGITS = 6  # of an area


def filter_lines(cameras: Sequence[FrigateCamera]) -> Iterator[str]:
    """`[filter.CLASS]` for each label that a camera tracks and limits.

    Args:
        cameras: that edged shall watch.
    """
    limited = dict.fromkeys(label for camera in cameras for label in camera.objects.section("filters"))
    for label in limited:
        concerned = [camera for camera in cameras if label in camera.tracked]
        if not concerned:
            yield from ("", remark(f"objects.filters.{label}: no camera tracks it"))
        else:
            yield from _lines(label, concerned)


def _lines(label: str, cameras: Sequence[FrigateCamera]) -> Iterator[str]:
    yield ""
    if label == DEFAULT_FILTER:
        yield remark(f"objects.filters.{label}: in edged this name stands for all classes; name the class otherwise")
        return
    table: dict[str, float] = {}
    remarks = each_remark((name for camera in cameras for name in camera.filter_of(label)), {}, known={*_KEYS, "mask"})
    for frigate, name in _KEYS.items():
        values, unknown = _limits(cameras, label, frigate)
        remarks += unknown
        known = [value for value in values.values() if value is not None]
        if unknown or not known:
            continue
        if len(set(values.values())) > 1:
            each = ", ".join(
                f"{camera} {'none' if value is None else f'{value:g}'}" for camera, value in values.items()
            )
            remarks.append(f"{name}: cameras differ in Frigate ({each}); edged's filters hold for all of them")
        if len(known) == len(values):  # the loosest loses nothing that a camera reported
            table[name] = max(known) if name.startswith("max") else min(known)
    kept, refused = accepted(Filter, table)
    remarks += [f"{name} = {table[name]:g} is left out: {reason}" for name, reason in refused.items()]
    yield f"[filter.{key(label)}]"
    yield from (remark(text) for text in dict.fromkeys(remarks))
    yield from settings(kept)


def _limits(cameras: Sequence[FrigateCamera], label: str, frigate: str) -> tuple[dict[str, float | None], list[str]]:
    """A limit in edged's unit by camera, None where it has none; and what lacks for it, where pixels cannot be told."""
    found: dict[str, float | None] = {}
    unknown = []
    for camera in cameras:
        value, picture = camera.filter_of(label).number(frigate), camera.picture
        if value == _NO_LIMIT and frigate in _UPPER:
            value = _UPPER[frigate]
        elif value is not None and frigate.endswith("area") and value >= 1:
            if not picture.known:
                unknown.append(
                    f"{frigate} is left out: it is {value:.15g} pixels, and the file lacks {picture.missing} of"
                    f" {camera.name}: divide it by width times height"
                )
                continue
            value = float(f"{value / (picture.width * picture.height):.{_DIGITS}g}")
        found[camera.name] = None if value is None else min(value, _UPPER.get(frigate, value))
    return found, unknown
