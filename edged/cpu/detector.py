"""Detection on the CPU: a single frame gets all cores, several frames run in parallel with one core each.

In parallel more frames per second are processed (no synchronisation inside an operator); alone a frame ends sooner.
One frame more than there are cores is under way: fewer would leave cores idle, more would add latency.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import cv2
import numpy as np
from onnxruntime import __version__ as ort_version

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import DataError, DetectorError
from edged.core.letterbox import PAD_GREY
from edged.core.manifest import Manifest
from edged.core.types import Frame, FrameResult, Thresholds
from edged.cpu.arbiter import CoreArbiter
from edged.cpu.lane import Job, Jobs, Lane, Sessions
from edged.cpu.processors import available
from edged.cpu.session import memory_is_short, open_session, require_contract, require_sound
from edged.cpu.stages import Stages, fastest

SPARE = 1  # frames beyond one per core: a core that becomes free need not wait for the pipeline's next turn
DEADLINE_S = 30.0  # an inference that takes longer hangs: the slowest models need a few seconds


class CpuDetector:
    """Implements `edged.core.protocols.Detector` with ONNX Runtime.

    Args:
        bundle: the model.
        thresholds: for the frames to come; the attribute of that name may be replaced at any time.
        threads: cores to use; 0 for all that this process may run on.
        file: the graph in the bundle to load, as `choose_graph` gives it.
        deadline_s: how long `collect` waits for a frame.
        stages: before and after the model; None for the fastest that were built.

    Raises:
        BundleMismatch, DataError: the bundle holds no valid model.
        DetectorError: memory is short for the self-test.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        thresholds: Thresholds,
        threads: int = 0,
        file: str = MODEL,
        deadline_s: float = DEADLINE_S,
        stages: Stages | None = None,
    ) -> None:
        # OpenCV's own threads would spin while they wait, and take cores from the model's.
        cv2.setNumThreads(1)
        self.thresholds = thresholds
        self._deadline_s = deadline_s
        self.cores = threads or len(available())
        where = str(bundle.directory / file)
        sessions = _sessions(bundle, file, cores=self.cores, where=where)
        stages = fastest() if stages is None else stages
        self.facts = {"ONNX Runtime": ort_version, "stages around the model": stages.described(bundle.manifest.decode)}
        lanes = [Lane(sessions, bundle.manifest, stages) for _ in range(self.cores)]
        _self_test(lanes[0], bundle.manifest, where=where)
        self._under_way: deque[Job] = deque()
        self._arbiter = CoreArbiter()
        self._jobs: Jobs = queue.SimpleQueue()
        threads_of_lanes = [
            threading.Thread(
                target=lane.serve, args=(self._jobs, self._arbiter), name=f"detector_{number}", daemon=True
            )
            for number, lane in enumerate(lanes)
        ]
        for thread in threads_of_lanes:
            thread.start()
        # Also without `close`: no thread may be inside ONNX Runtime when the interpreter ends.
        self._end = weakref.finalize(self, _end_lanes, self._jobs, threads_of_lanes, deadline_s)

    @property
    def room(self) -> int:
        """Frames that `submit` accepts right now."""
        return self.cores + SPARE - len(self._under_way)

    def submit(self, frames: Sequence[Frame]) -> None:
        """Start on 1 to `room` frames.

        Raises:
            DetectorError: there are more.
        """
        if not 0 < len(frames) <= self.room:
            raise DetectorError(f"submit takes 1 to {self.room} frames now, got {len(frames)}")
        self._arbiter.expect(len(frames))
        for frame in frames:
            job = Job(frame, self.thresholds)
            self._under_way.append(job)
            self._jobs.put(job)

    def collect(self) -> list[FrameResult]:
        """Wait for the result of the oldest frame under way; always one, even if several were submitted together.

        Raises:
            DetectorError: the model failed, the deadline passed, or nothing is under way.
        """
        if not self._under_way:
            raise DetectorError("collect without a submit: nothing is under way")
        try:
            return [self._under_way.popleft().result(timeout_s=self._deadline_s)]
        except TimeoutError as exc:
            raise DetectorError(f"inference hangs: no result within {self._deadline_s:g} s") from exc

    def close(self) -> None:
        """End the threads; waits for frames under way up to the deadline. Safe to call twice."""
        self._end()
        self._under_way.clear()


def _sessions(bundle: Bundle, file: str, *, cores: int, where: str) -> Sessions:
    model = bundle.read(file)
    narrow = open_session(model, threads=1, where=where)
    require_contract(narrow, bundle.manifest, where=where)
    if cores == 1:
        return Sessions(narrow, narrow, caller_on=None)
    processors = available()
    # With fewer cores than there are, the kernel knows best which are free.
    pinned = processors if cores == len(processors) else []
    wide = open_session(model, threads=cores, where=where, processors=pinned)
    return Sessions(narrow, wide, caller_on=pinned[0] if pinned else None)


def _end_lanes(jobs: Jobs, threads: Sequence[threading.Thread], deadline_s: float) -> None:
    """Drop jobs that no lane has begun, and wait for the others."""
    with suppress(queue.Empty):
        while True:
            jobs.get_nowait()
    for _ in threads:
        jobs.put(None)
    until_s = time.monotonic() + deadline_s
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))


def _self_test(lane: Lane, manifest: Manifest, *, where: str) -> None:
    lane.preprocess(np.full((8, 8, 3), PAD_GREY, np.uint8))
    for way in (lane.narrow, lane.wide):  # also warms up both
        try:
            way.run()
        except DetectorError as exc:
            if memory_is_short(exc):  # not the model's fault: there may be more after a restart
                raise
            raise DataError(
                f"{where}: the model does not run on a grey picture: {exc}", remedy="provision the model again"
            ) from exc
        require_sound(way.model.outputs, manifest, where=where)
