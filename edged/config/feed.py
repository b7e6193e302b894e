"""`[feed]`: what programs on this machine may listen to."""

from __future__ import annotations

from pathlib import Path

from edged.config.section import Section


class Feed(Section, frozen=True):
    """`[feed]`."""

    enabled: bool = True
    socket: Path | None = None
    group: str = "edged-view"
