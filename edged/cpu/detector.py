"""Detection on the CPU: the lone frame gets every core, several frames run side by side with one core each.

Side by side carries more frames a second (no synchronisation inside an operator), alone ends sooner. Frames under way
are one more than cores: fewer would leave cores idle, more would take a camera's newest frame earlier than needed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import cv2
import numpy as np
from onnxruntime import InferenceSession
from onnxruntime import __version__ as ort_version

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import DataError, DetectorError
from edged.core.letterbox import PAD_GREY
from edged.core.manifest import Manifest
from edged.core.types import Frame, FrameResult, Thresholds
from edged.cpu.preprocess import Preprocessor
from edged.cpu.processors import available, keep_to
from edged.cpu.session import BoundModel, open_session, require_contract, require_finite
from edged.cpu.stages import Finisher, Stages, fastest

SPARE = 1  # frames under way beyond one a core: a core that becomes free does not wait for the pipeline's next turn
DEADLINE_S = 30.0  # an inference that takes longer hangs: the slowest sensible model needs a few seconds


@dataclass(frozen=True, slots=True)
class _Way:
    """The model with its buffers, and what makes detections of its heads."""

    model: BoundModel
    finish: Finisher
    processor: int | None  # that the calling thread keeps to

    @classmethod
    def through(cls, model: BoundModel, manifest: Manifest, stages: Stages, *, processor: int | None) -> _Way:
        finish = stages.finisher(model.heads, anchors=manifest.anchors, strides=manifest.strides)
        return cls(model, finish, processor)

    def run(self) -> None:
        with nullcontext() if self.processor is None else keep_to(self.processor):
            self.model.run()


class _Lane:
    """The buffers of one frame under way, and the two ways to run it.

    Args:
        narrow: a session with one thread, shared by all lanes.
        wide: a session with every core, used while nothing else runs.
        manifest: of the model.
        stages: what works around it.
        caller_on: the processor that the threads of `wide` leave to its caller; None where they keep to none.
    """

    def __init__(
        self,
        *,
        narrow: InferenceSession,
        wide: InferenceSession,
        manifest: Manifest,
        stages: Stages,
        caller_on: int | None,
    ) -> None:
        self.preprocess = Preprocessor(manifest.input_wh, filler=stages.filler)
        self.narrow, self.wide = (
            _Way.through(BoundModel(session, self.preprocess.blob), manifest, stages, processor=processor)
            for session, processor in ((narrow, None), (wide, caller_on))
        )


class _Sharing:
    """Who has which cores: a frame that is the only one under way all of them, else each frame one.

    Decided when the picture is ready for the model, so that a frame that came meanwhile counts. Once frames run side by
    side they do until none is under way: in a row of frames one is alone only until the next is taken.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._expected = 0
        self._one_has_all = False
        self._in_a_row = False

    def expect(self, frames: int) -> None:
        """So many more will ask for their share."""
        with self._changed:
            self._in_a_row &= self._expected > 0
            self._expected += frames

    def done(self) -> None:
        """A frame needs no core any more."""
        with self._changed:
            self._expected -= 1

    @contextmanager
    def share(self) -> Iterator[bool]:
        """Wait for a share and hold it; whether it is every core."""
        with self._changed:
            # Beside a run on every core both would take longer than one after the other.
            self._changed.wait_for(lambda: not self._one_has_all)
            self._in_a_row |= self._expected > 1
            alone = self._one_has_all = not self._in_a_row
        try:
            yield alone
        finally:
            if alone:
                with self._changed:
                    self._one_has_all = False
                    self._changed.notify_all()


class CpuDetector:
    """Implements `edged.core.protocols.Detector` with ONNX Runtime.

    Args:
        bundle: the model; `file` of it is loaded.
        thresholds: may be replaced at any time through the attribute of that name.
        threads: cores to use; 0 for all that this process may run on.
        file: `model.onnx` or `model.int8.onnx`.
        deadline_s: how long `collect` waits for a frame.
        stages: around the model; None for the fastest there are.

    Raises:
        BundleMismatch, DataError: the bundle does not hold a sound model.
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
        # Cores are shared out here: OpenCV's own threads would wait for work in a loop, beside those of the model.
        cv2.setNumThreads(1)
        self.thresholds = thresholds
        self._deadline_s = deadline_s
        processors = available()
        self.cores = threads or len(processors)
        self._under_way: deque[Future[FrameResult]] = deque()
        self._sharing = _Sharing()
        manifest, where = bundle.manifest, str(bundle.directory / file)
        model = bundle.read(file)
        narrow = open_session(model, threads=1, where=where)
        require_contract(narrow, manifest, where=where)
        pinned = processors if self.cores == len(processors) > 1 else []
        wide = narrow
        if self.cores > 1:
            wide = open_session(model, threads=self.cores, where=where, processors=pinned)
        stages = fastest() if stages is None else stages
        self.facts = {"ONNX Runtime": ort_version, "stages around the model": stages.made_of}
        caller_on = pinned[0] if pinned else None
        lanes = [
            _Lane(narrow=narrow, wide=wide, manifest=manifest, stages=stages, caller_on=caller_on)
            for _ in range(self.cores)
        ]
        _self_test(lanes[0], where=where)
        self._lanes: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        for lane in lanes:
            self._lanes.put(lane)
        self._pool = ThreadPoolExecutor(self.cores, thread_name_prefix="detector")

    @property
    def room(self) -> int:
        """Frames that `submit` accepts right now."""
        return self.cores + SPARE - len(self._under_way)

    def submit(self, frames: Sequence[Frame]) -> None:
        """Start on up to `room` frames."""
        if not 0 < len(frames) <= self.room:
            raise DetectorError(f"submit takes 1 to {self.room} frames now, got {len(frames)}")
        submitted_ns = time.monotonic_ns()
        self._sharing.expect(len(frames))
        self._under_way.extend(self._pool.submit(self._detect, frame, submitted_ns) for frame in frames)

    def collect(self) -> list[FrameResult]:
        """The result of the oldest submitted frame, whatever it was submitted with: its core is free for another."""
        if not self._under_way:
            raise DetectorError("collect without a submit: nothing is under way")
        try:
            return [self._under_way.popleft().result(timeout=self._deadline_s)]
        except FutureTimeout as exc:
            raise DetectorError(f"inference hangs: no result within {self._deadline_s:g} s") from exc

    def close(self) -> None:
        """End the threads; waits for frames under way up to the deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(self._under_way, timeout=self._deadline_s)
        self._under_way.clear()

    def _detect(self, frame: Frame, submitted_ns: int) -> FrameResult:
        lane = self._lanes.get()
        try:
            return self._detect_in(lane, frame, submitted_ns)
        finally:
            self._lanes.put(lane)
            self._sharing.done()

    def _detect_in(self, lane: _Lane, frame: Frame, submitted_ns: int) -> FrameResult:
        start = time.monotonic_ns()
        box = lane.preprocess(frame.pixels)
        preprocessed = time.monotonic_ns()
        with self._sharing.share() as alone:
            begun = time.monotonic_ns()
            way = lane.wide if alone else lane.narrow
            way.run()
        inferred = time.monotonic_ns()
        detections, decoded = way.finish(box, self.thresholds)
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


def _self_test(lane: _Lane, *, where: str) -> None:
    lane.preprocess(np.full((8, 8, 3), PAD_GREY, np.uint8))
    for way in (lane.narrow, lane.wide):  # also warms both up
        try:
            way.run()
        except DetectorError as exc:
            if "allocate" in str(exc):  # ONNX Runtime's word when memory is short: there may be more after a restart
                raise
            raise DataError(
                f"{where}: the model does not run on a grey picture: {exc}", remedy="provision the model again"
            ) from exc
        require_finite(way.model.heads, where=where)
