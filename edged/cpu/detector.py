"""Detection on the CPU: the lone frame gets every core, several frames run side by side with one core each.

Side by side carries more frames a second (no synchronisation inside an operator), alone ends sooner. Frames under way
are bounded by the cores, so that a waiting camera's newest frame is taken as late as possible.
"""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout

import cv2
import numpy as np
from onnxruntime import InferenceSession

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import DetectorError
from edged.core.letterbox import PAD_GREY
from edged.core.types import Detections, Frame, FrameResult, Thresholds
from edged.cpu.decode import Decoder
from edged.cpu.nms import nms
from edged.cpu.preprocess import Preprocessor
from edged.cpu.session import BoundModel, open_session, require_contract, require_finite

DEADLINE_S = 30.0  # an inference that takes longer hangs: the slowest sensible model needs a few seconds


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


class _Lane:
    """The buffers of one frame under way, and the two ways to run it.

    Args:
        narrow: a session with one thread, shared by all lanes.
        wide: a session with every core, used while nothing else runs.
        input_wh: the network's input, pixels.
    """

    def __init__(self, *, narrow: InferenceSession, wide: InferenceSession, input_wh: tuple[int, int]) -> None:
        self.preprocess = Preprocessor(input_wh)
        self.narrow = BoundModel(narrow, self.preprocess.blob)
        self.wide = BoundModel(wide, self.preprocess.blob)


class CpuDetector:
    """Implements `edged.core.protocols.Detector` with ONNX Runtime.

    Args:
        bundle: the model; `file` of it is loaded.
        thresholds: may be replaced at any time through the attribute of that name.
        threads: cores to use; 0 for all that this process may run on.
        file: `model.onnx` or `model.int8.onnx`.
        deadline_s: how long `collect` waits for a frame.

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
    ) -> None:
        # Cores are shared out here: OpenCV's own threads would wait for work in a loop, beside those of the model.
        cv2.setNumThreads(1)
        self.thresholds = thresholds
        self._deadline_s = deadline_s
        self.cores = threads or available_cores()
        self._under_way: deque[list[Future[FrameResult]]] = deque()
        self._alone: Future[FrameResult] | None = None  # the last frame that was given every core
        manifest, where = bundle.manifest, str(bundle.directory / file)
        model = bundle.read(file)
        self._decode = Decoder(anchors=manifest.anchors, strides=manifest.strides)
        narrow = open_session(model, threads=1, where=where)
        require_contract(narrow, manifest, where=where)
        wide = open_session(model, threads=self.cores, where=where) if self.cores > 1 else narrow
        lanes = [_Lane(narrow=narrow, wide=wide, input_wh=manifest.input_wh) for _ in range(self.cores)]
        _self_test(lanes[0], where=where)
        self._lanes: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        for lane in lanes:
            self._lanes.put(lane)
        self._pool = ThreadPoolExecutor(self.cores, thread_name_prefix="detector")

    @property
    def room(self) -> int:
        """Frames that `submit` accepts right now."""
        return self.cores - sum(len(batch) for batch in self._under_way)

    def submit(self, frames: Sequence[Frame]) -> None:
        """Start on up to `room` frames."""
        if not 0 < len(frames) <= self.room:
            raise DetectorError(f"submit takes 1 to {self.room} frames now, got {len(frames)}")
        submitted_ns = time.monotonic_ns()
        alone = len(frames) == 1 and not self._under_way
        futures = [
            self._pool.submit(self._detect, frame, submitted_ns, wide=alone, after=self._alone) for frame in frames
        ]
        if alone:
            self._alone = futures[0]
        self._under_way.append(futures)

    def collect(self) -> list[FrameResult]:
        """Results of the oldest submitted frames, in their order."""
        if not self._under_way:
            raise DetectorError("collect without a submit: nothing is under way")
        deadline = time.monotonic() + self._deadline_s
        futures = self._under_way.popleft()
        try:
            return [future.result(timeout=max(0.0, deadline - time.monotonic())) for future in futures]
        except FutureTimeout as exc:
            raise DetectorError(f"inference hangs: no result within {self._deadline_s:g} s") from exc

    def close(self) -> None:
        """End the threads; waits for frames under way up to the deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait([future for batch in self._under_way for future in batch], timeout=self._deadline_s)
        self._under_way.clear()

    def _detect(self, frame: Frame, submitted_ns: int, *, wide: bool, after: Future[FrameResult] | None) -> FrameResult:
        if after is not None:
            wait([after])  # a frame that has every core would fight with any other for them
        lane = self._lanes.get()
        try:
            return self._detect_in(lane, lane.wide if wide else lane.narrow, frame, submitted_ns)
        finally:
            self._lanes.put(lane)

    def _detect_in(self, lane: _Lane, model: BoundModel, frame: Frame, submitted_ns: int) -> FrameResult:
        limits = self.thresholds
        marks = [time.monotonic_ns()]
        box = lane.preprocess(frame.pixels)
        marks.append(time.monotonic_ns())
        model.run()
        marks.append(time.monotonic_ns())
        found = self._decode(model.heads, threshold=limits.confidence)
        if limits.class_ids:
            found = found.select(np.isin(found.class_id, list(limits.class_ids)))
        marks.append(time.monotonic_ns())
        kept = nms(
            found.xyxy, found.score, found.class_id, iou_threshold=limits.iou, max_detections=limits.max_detections
        )
        best = found.select(kept)
        detections = Detections(box.to_frame(best.xyxy), best.score, best.class_id)
        marks.append(time.monotonic_ns())
        return FrameResult(frame.meta, detections, _timings(frame.meta.captured_ns, submitted_ns, marks))


def _self_test(lane: _Lane, *, where: str) -> None:
    lane.preprocess(np.full((8, 8, 3), PAD_GREY, np.uint8))
    for model in (lane.narrow, lane.wide):  # also warms both up
        model.run()
        require_finite(model.heads, where=where)


def _timings(captured_ns: int, submitted_ns: int, marks: Sequence[int]) -> dict[str, float]:
    """Milliseconds by stage from CLOCK_MONOTONIC marks: start, preprocessed, inferred, decoded, suppressed."""
    stages = ("preprocess", "inference", "decode", "nms")
    timings = {name: (end - start) / 1e6 for name, start, end in zip(stages, marks, marks[1:], strict=False)}
    timings["waiting"] = (submitted_ns - captured_ns) / 1e6
    timings["detect"] = (marks[-1] - submitted_ns) / 1e6
    timings["total"] = (marks[-1] - captured_ns) / 1e6
    return timings
