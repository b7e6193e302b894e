"""Takes a picture of each object of a camera whenever a frame shows it better."""

from __future__ import annotations

from dataclasses import dataclass, field

from edged.analysis.occurrence import Occurrence
from edged.analysis.snapshots.choice import Best, worth
from edged.analysis.snapshots.worker import Job, SnapshotWorker
from edged.core.types import Frame


@dataclass(slots=True)
class CameraRoll:
    """The pictures of one camera's objects. One thread uses it.

    Args:
        worker: makes and stores them.
    """

    worker: SnapshotWorker
    _best: dict[str, Best] = field(default_factory=dict)

    def consider(self, occurrence: Occurrence, frame: Frame) -> None:
        """The object was seen in this frame: take a picture if it is clearly better than the one before."""
        track = occurrence.track
        best = self._best.setdefault(occurrence.event, Best())
        now = worth(track.box, track.score, frame.meta.size_wh)
        if not best.beaten_by(now, track.last_s):
            return
        job = Job(
            event=occurrence.event,
            label=track.label,
            started_at=occurrence.started_at,
            meta=frame.meta,
            box=track.box,
            score=track.score,
            pixels=frame.pixels,
        )
        if self.worker.take(job):
            best.worth, best.taken_s = now, track.last_s

    def forget(self, event: str) -> None:
        """The event is over."""
        self._best.pop(event, None)
