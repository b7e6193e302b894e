"""One lane of the CPU detector: a thread with buffers of its own that processes one frame after the other."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

from onnxruntime import InferenceSession

from edged.core.manifest import Manifest
from edged.core.types import Frame, FrameResult, Thresholds
from edged.cpu.arbiter import CoreArbiter
from edged.cpu.preprocess import Preprocessor
from edged.cpu.processors import keep_to
from edged.cpu.session import BoundModel
from edged.cpu.stages import Finisher, Stages


class Job:
    """One frame under way, and its outcome.

    Args:
        frame: its pixels are read until the job has ended.
        limits: thresholds for its detections.
    """

    __slots__ = ("_ended", "_outcome", "frame", "limits", "submitted_ns")

    def __init__(self, frame: Frame, limits: Thresholds) -> None:
        self.frame = frame
        self.limits = limits
        self.submitted_ns = time.monotonic_ns()
        self._outcome: FrameResult | BaseException | None = None
        self._ended = threading.Lock()  # held until the job ends
        self._ended.acquire()

    def end(self, outcome: FrameResult | BaseException) -> None:
        """Set the outcome: a result, or what prevented it. Call it once."""
        self._outcome = outcome
        self._ended.release()

    def result(self, *, timeout_s: float) -> FrameResult:
        """Wait for the result; call it once.

        Raises:
            TimeoutError: it has not ended within `timeout_s`.
            BaseException: what prevented it.
        """
        if not self._ended.acquire(timeout=timeout_s):
            raise TimeoutError
        if isinstance(self._outcome, FrameResult):
            return self._outcome
        raise self._outcome or RuntimeError("a job ended without an outcome")


Jobs = queue.SimpleQueue[Job | None]  # None ends the lane that gets it


@dataclass(frozen=True, slots=True)
class Sessions:
    """The two sessions of the model that all lanes share.

    Attributes:
        narrow: with one thread, for frames in parallel.
        wide: with a thread per core, for a single frame.
        caller_on: the processor that the threads of `wide` leave to its caller; None where they are not pinned.
    """

    narrow: InferenceSession
    wide: InferenceSession
    caller_on: int | None


class Way:
    """One of the sessions with its buffers and its finisher."""

    def __init__(self, model: BoundModel, finish: Finisher, *, processor: int | None) -> None:
        self.model = model
        self.finish = finish
        self._processor = processor

    def run(self) -> None:
        """Run the model: input buffer -> outputs.

        Raises:
            DetectorError: ONNX Runtime failed.
        """
        if self._processor is None:
            self.model.run()
        else:
            with keep_to(self._processor):
                self.model.run()


class Lane:
    """The buffers of one frame under way, and the two ways to run the model on it. One thread at a time.

    Args:
        sessions: shared by all lanes.
        manifest: of the model.
        stages: before and after the model.
    """

    def __init__(self, sessions: Sessions, manifest: Manifest, stages: Stages) -> None:
        self.preprocess = Preprocessor(manifest.input_wh, filler=stages.filler)
        self.narrow, self.wide = (
            Way(model, stages.finisher(model.outputs, manifest.decode, classes=len(manifest.classes)), processor=on)
            for model, on in (
                (BoundModel(sessions.narrow, self.preprocess.blob), None),
                (BoundModel(sessions.wide, self.preprocess.blob), sessions.caller_on),
            )
        )

    def serve(self, jobs: Jobs, arbiter: CoreArbiter) -> None:
        """Process jobs until a None comes."""
        while (job := jobs.get()) is not None:
            outcome: FrameResult | BaseException
            try:
                outcome = self._detect(job, arbiter)
            except BaseException as exc:  # noqa: BLE001 - `Job.result` raises it
                outcome = exc
            arbiter.done()
            job.end(outcome)
            del job, outcome  # frees the frame now: the next job may come late

    def _detect(self, job: Job, arbiter: CoreArbiter) -> FrameResult:
        frame, submitted_ns = job.frame, job.submitted_ns
        start = time.monotonic_ns()
        box = self.preprocess(frame.pixels)
        preprocessed = time.monotonic_ns()
        alone = arbiter.take()
        begun = time.monotonic_ns()
        try:
            way = self.wide if alone else self.narrow
            way.run()
        finally:
            if alone:
                arbiter.back()
        inferred = time.monotonic_ns()
        detections, decoded = way.finish(box, job.limits)
        finished = time.monotonic_ns()
        timings = {
            "preprocess": (preprocessed - start) / 1e6,
            "inference": (inferred - begun) / 1e6,
            "decode": (decoded - inferred) / 1e6,
            "nms": (finished - decoded) / 1e6,
            "waiting": (submitted_ns - frame.meta.captured_ns) / 1e6,
            "detect": (finished - submitted_ns) / 1e6,
            "total": (finished - frame.meta.captured_ns) / 1e6,
        }
        return FrameResult(frame.meta, detections, timings)
