"""Makes and stores snapshots in a thread of its own, so that neither JPEG nor disk holds up the pipeline."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from queue import Full, Queue

import numpy as np

from edged.analysis.options import SnapshotOptions
from edged.analysis.snapshots.picture import cropped, with_box
from edged.analysis.snapshots.store import CLEAN, SnapshotStore
from edged.core.events import Box, Snapshot, SnapshotFacts, SnapshotState
from edged.core.states import SnapshotCounters
from edged.core.types import FrameMeta, Pixels
from edged.jpeg import NoPicture, jpeg

MOST_MQTT_BYTES = 200_000
MOST_FILE_BYTES = 8 << 20
WAITING = 4  # pictures that wait for the thread; further ones are not taken
TIDY_EVERY_S = 60.0
LOG_EVERY_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to be made.

    Attributes:
        event, label: of the object.
        started_at: when the event began, UTC.
        meta: of the frame.
        box, score: of the object there.
        pixels: a copy of the frame.
    """

    event: str
    label: str
    started_at: datetime
    meta: FrameMeta
    box: Box
    score: float
    pixels: Pixels = field(repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of the picture of an event; `facts` is None where a stored one was removed to make room."""

    event: str
    facts: SnapshotFacts | None


class SnapshotWorker:
    """Takes pictures and tells what became of them.

    Args:
        options: as configured.
        store: owned by this object's thread from now on.
        on_snapshot: takes each picture that was made, from this object's thread.

    Attributes:
        done: what became of pictures, oldest first; taken by the pipeline's thread.
    """

    def __init__(
        self, options: SnapshotOptions, store: SnapshotStore, *, on_snapshot: Callable[[Snapshot], None]
    ) -> None:
        self._options, self._store, self._on_snapshot = options, store, on_snapshot
        self._jobs: Queue[Job | None] = Queue(WAITING)
        self._spare: deque[Pixels] = deque(maxlen=WAITING)
        self.done: deque[Done] = deque()
        self._stored = self._dropped = self._failed = 0
        self._quiet_until = 0.0
        self._tidy_at = 0.0
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    @property
    def counters(self) -> SnapshotCounters:
        """What became of all pictures so far."""
        return SnapshotCounters(self._stored, self._dropped, self._failed)

    def take(self, job: Job) -> bool:
        """Copy the frame's pixels and accept the picture; False, without a copy, where too many wait."""
        if self._jobs.full():
            return False
        job = Job(job.event, job.label, job.started_at, job.meta, job.box, job.score, self._copied(job.pixels))
        try:
            self._jobs.put_nowait(job)
        except Full:
            return False
        return True

    def close(self, timeout_s: float) -> None:
        """Make the pictures that wait, at most for so long."""
        try:
            self._jobs.put(None, timeout=timeout_s)
        except Full:
            return
        self._thread.join(timeout_s)

    def _copied(self, pixels: Pixels) -> Pixels:
        """A copy in memory that was used before where there is some: new pages cost more than the copy."""
        for _ in range(len(self._spare)):
            spare = self._spare.popleft()
            if spare.shape == pixels.shape:
                np.copyto(spare, pixels)
                return spare
        copy: Pixels = pixels.copy()
        return copy

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._make(job)
            except Exception:
                # A defect must not end the thread: snapshots would stop silently.
                self._failed += 1
                logger.exception("snapshot of event %s: unexpected failure", job.event)
                self._tell(job, "failed")
            self._spare.append(job.pixels)

    def _make(self, job: Job) -> None:
        pixels, box = cropped(job.pixels, job.box) if self._options.crop else (job.pixels, job.box)
        try:
            shown = with_box(pixels, box, job.label, job.score)
            files = {"": jpeg(shown, most_bytes=MOST_FILE_BYTES)}
            small = files[""] if len(files[""]) <= MOST_MQTT_BYTES else jpeg(shown, most_bytes=MOST_MQTT_BYTES)
            if self._options.clean:
                files[CLEAN] = jpeg(pixels, most_bytes=MOST_FILE_BYTES)
        except NoPicture as exc:
            self._failed += 1
            self._report(f"no snapshot of event {job.event} can be made: {exc}")
            self._tell(job, "failed")
            return
        self._on_snapshot(Snapshot(job.meta.camera, job.label, job.event, small))
        self._keep(job, files)

    def _keep(self, job: Job, files: dict[str, bytes]) -> None:
        try:
            problem = self._stored_or_why(job, files)
        except OSError as exc:  # looking at the folder may fail as writing into it does: no descriptors, a dying disk
            problem = f"snapshots cannot be stored: {exc.strerror or exc}"
        if problem:
            self._dropped += 1
            self._report(problem)
            self._tell(job, "dropped_disk")
            return
        self._stored += 1
        self._tell(job, "stored", hashlib.sha256(files[""]).hexdigest())

    def _stored_or_why(self, job: Job, files: dict[str, bytes]) -> str:
        """Store the files, and what is too much goes; why there is no room where there is none, else empty."""
        if time.monotonic() >= self._tidy_at or not self._store.has_room:
            self._tidy_at = time.monotonic() + TIDY_EVERY_S
            self.done.extend(Done(event, None) for event in self._store.tidy())
        if not self._store.has_room:
            return "the disk is nearly full: snapshots are not stored"
        self._store.write(job.meta.camera, job.event, job.started_at, files)
        return ""

    def _tell(self, job: Job, state: SnapshotState, sha256: str = "") -> None:
        facts = SnapshotFacts(job.meta.sequence, job.meta.captured_at, job.box, sha256, state)
        self.done.append(Done(job.event, facts))

    def _report(self, problem: str) -> None:
        """Log once a minute, however often it happens."""
        now = time.monotonic()
        level = logging.DEBUG if now < self._quiet_until else logging.WARNING
        if level == logging.WARNING:
            self._quiet_until = now + LOG_EVERY_S
        logger.log(level, "%s", problem)
