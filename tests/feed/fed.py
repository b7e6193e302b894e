"""A feed and its stage, with what it says in these tests."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edged.core.types import Detections, FrameResult
from edged.core.watched import Area, Watched
from edged.feed.listener import listen
from edged.feed.pictures import Pictures
from edged.feed.sink import Feed
from edged.publish.counters import MessageTally
from tests.brokers import wait_for
from tests.fakes import frame_of
from tests.publish.results import ORIGIN

DRIVE = Area("zone", "drive", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)), ("person",))
CAMERAS = (Watched("gate", labels=("person",), areas=(DRIVE,)), Watched("yard"))
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
ULID = "01KAZ0000000000000000000AA"


class Fed:
    """A feed and its stage."""

    def __init__(self, path: Path) -> None:
        self.path, self.pictures = path, Pictures()
        self.snapshots: dict[tuple[str, bool], bytes | OSError] = {}
        self.feed = Feed(
            listen(path, group=""),
            ORIGIN,
            cameras=CAMERAS,
            pictures=self.pictures,
            counters=lambda: MessageTally().snapshot(waiting=3),
            read_snapshot=self._read,
        )

    def _read(self, name: str, clean: bool) -> bytes | None:  # noqa: FBT001
        found = self.snapshots.get((name, clean))
        if isinstance(found, OSError):
            raise found
        return found

    def settle(self) -> None:
        """Until everything that was said has reached the feed's thread."""
        wait_for(lambda: not self.feed._server._inbox, what="the feed's thread has heard")

    def show(self, sequence: int = 0, *, camera: str = "gate", grey: int = 100) -> FrameResult:
        """A frame passes the stage, and its result the sink."""
        pixels = np.full((90, 160, 3), grey, np.uint8)
        frame = frame_of(pixels, camera=camera, sequence=sequence)
        box = Detections(np.array([[1, 2, 30, 40]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int32))
        seen = FrameResult(frame.meta, box, {"waiting": 1.0, "detect": 2.0, "total": 3.0})
        assert self.pictures.process(frame, seen) is seen
        self.feed.publish(seen)
        return seen
