"""Frigate's counts of frames in `detect` -> the seconds of `[track]`, which holds for all cameras of edged."""

from __future__ import annotations

from collections.abc import Iterator

from edged.config.watching import Track
from edged.migrate.reasons import accepted
from edged.migrate.sections import Section
from edged.migrate.toml import remark, settings


def track_seconds(detect: Section, *, fps: float) -> dict[str, tuple[str, float]]:
    """What Frigate's `detect` says in frames, in seconds: for each key of it edged's key and the seconds.

    Args:
        detect: of a camera or of the whole file.
        fps: frames a second that it is about.
    """
    frames = {
        "min_initialized": ("confirm_s", detect.number("min_initialized")),
        "max_disappeared": ("lost_s", detect.number("max_disappeared")),
        "stationary.threshold": ("stationary_s", detect.section("stationary").number("threshold")),
    }
    return {key: (name, round(count / fps, 3)) for key, (name, count) in frames.items() if count is not None}


def track_lines(detect: Section, *, fps: float) -> Iterator[str]:
    """`[track]`, where Frigate's file says something of it for all cameras."""
    given = track_seconds(detect, fps=fps)
    kept, refused = accepted(Track, dict(given.values()))
    if not given:
        return
    yield from ("", "[track]")
    for key, (name, seconds) in given.items():
        if name in refused:
            yield remark(f"detect.{key}: {name} = {seconds:g}: {refused[name]}")
    yield from settings(kept)
