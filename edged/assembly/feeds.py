"""Builds the feed: a sink, and the stage that takes pictures for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from edged.analysis.snapshots.store import read_snapshot
from edged.config.schema import Settings
from edged.core.errors import ConfigError
from edged.core.paths import FEED_SOCKET, runtime_directory, state_directory
from edged.core.watched import Watched
from edged.feed.listener import listen
from edged.feed.pictures import Pictures
from edged.feed.sink import Feed
from edged.publish.counters import PublishCounters
from edged.publish.identity import Origin

logger = logging.getLogger(__name__)


def snapshots_directory(settings: Settings) -> Path:
    """Where snapshots are stored."""
    return settings.snapshots.directory or state_directory(settings.device.id) / "snapshots"


def feed_of(
    settings: Settings, speaker: Origin, watched: Sequence[Watched], *, counters: Callable[[], PublishCounters]
) -> tuple[tuple[Feed, ...], tuple[Pictures, ...]]:
    """The feed and its stage; neither where it is off, or where its usual place cannot be used, which is said.

    Raises:
        ConfigError: the configured socket cannot be made.
    """
    if not settings.feed.enabled:
        return (), ()
    path = settings.feed.socket or runtime_directory(settings.device.id) / FEED_SOCKET
    try:
        listener = listen(path, group=settings.feed.group)
    except ConfigError as exc:
        if settings.feed.socket:
            raise
        logger.warning("no feed, nobody can look: %s", exc)
        return (), ()
    pictures, directory = Pictures(), snapshots_directory(settings)
    feed = Feed(
        listener,
        speaker,
        cameras=watched,
        pictures=pictures,
        counters=counters,
        read_snapshot=lambda event, clean: read_snapshot(directory, event, clean=clean),
    )
    return (feed,), (pictures,)
