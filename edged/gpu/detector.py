"""Detection on the GPU: two batches under way, one uploads while the other runs; a CUDA graph per batch size."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from edged.core.errors import DataError, DetectorError
from edged.core.letterbox import Letterbox
from edged.core.limits import MOST_DETECTIONS
from edged.core.manifest import Manifest
from edged.core.types import Detections, Frame, FrameResult, Thresholds
from edged.gpu.errors import DeviceLost
from edged.gpu.layout import FOUND, Header, Results
from edged.gpu.model import EngineModel
from edged.gpu.program import DeviceMemory, Program
from edged.gpu.protocols import Engine, Gpu
from edged.gpu.slots import PinnedRanges, Slot

logger = logging.getLogger(__name__)

RING = 2  # batches under way: one runs, the next uploads; a third would only add latency
DEADLINE_S = 10.0  # a batch takes milliseconds; after this time the device hangs
_WARM_UP_WH = (8, 8)
_POLL_SHARE = 1 / 16  # of the time waited so far, so that waiting adds at most a sixteenth to it
_POLL_S = (20e-6, 1e-3)


class GpuDetector:
    """Implements `edged.core.protocols.TunableDetector`. It owns `gpu` and `engine` and closes them.

    Args:
        gpu: with the kernels loaded.
        engine: of the manifest's model.
        manifest: the bundle's.
        thresholds: the attribute of that name may be replaced at any time; memory is reserved for MOST_DETECTIONS per
            frame, or for their max_detections where that is more.
        max_batch: most frames in one batch; 0 for as many as the engine takes.
        deadline_s: how long `collect` waits.

    Attributes:
        max_batch: most frames in one batch.
        gpu: the device.
        compute: the stream on which batches run.
        programs: what a batch of each size runs, for measurements.

    Raises:
        BundleMismatch: the engine was not built from this model.
        DataError: the engine gives NaN or infinity.
        DetectorError: a call of CUDA or TensorRT failed.
    """

    def __init__(
        self,
        gpu: Gpu,
        engine: Engine,
        manifest: Manifest,
        *,
        thresholds: Thresholds,
        max_batch: int = 0,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._thresholds = thresholds
        self.max_batch = min(max_batch or engine.max_batch, engine.max_batch)
        self.gpu, self._engine, self._deadline_s = gpu, engine, deadline_s
        self._model = EngineModel.of(engine, manifest)
        self._header = Header(len(manifest.classes), self.max_batch)
        self._results = Results(self.max_batch, max(MOST_DETECTIONS, thresholds.max_detections))
        self._memory = DeviceMemory.allocate(gpu, engine, self._model, self._header, self._results)
        self._pinned = PinnedRanges(gpu)
        self._uploads, self.compute = gpu.make_stream(), gpu.make_stream()
        self._idle = deque(self._slot() for _ in range(RING))
        self._under_way: deque[Slot] = deque()
        self._lost = self._closed = False
        self._warm_up_header()
        self.programs = {batch: self._program(batch) for batch in range(1, self.max_batch + 1)}
        self._self_test()
        self._graphs = {batch: graph for batch in self.programs if (graph := self._captured(batch)) is not None}

    @property
    def room(self) -> int:
        """Frames that one `submit` accepts right now."""
        return self.max_batch if self._idle else 0

    @property
    def thresholds(self) -> Thresholds:
        """Thresholds for the batches to come.

        Raises:
            DetectorError: set to allow more detections than memory is reserved for.
        """
        return self._thresholds

    @thresholds.setter
    def thresholds(self, thresholds: Thresholds) -> None:
        if thresholds.max_detections > self._results.capacity:
            raise DetectorError(
                f"max_detections of {thresholds.max_detections}: memory is for {self._results.capacity} per frame",
                remedy="set it where the detector is made",
            )
        self._thresholds = thresholds

    @property
    def graph_batches(self) -> frozenset[int]:
        """The batch sizes that run as a CUDA graph."""
        return frozenset(self._graphs)

    def pin(self, address: int, nbytes: int) -> bool:
        """Let the device read frames in this host memory directly; False where it refuses. From any thread."""
        return not (self._closed or self._lost) and self._pinned.add(address, nbytes)

    def unpin(self, address: int) -> None:
        """Undo `pin` before that memory is unmapped and after its frames were collected. From any thread."""
        if not (self._closed or self._lost):  # else the device or the process frees it
            self._pinned.remove(address)

    def share_pinned(self, other: GpuDetector) -> None:
        """Use the pinned memory of `other`, on another device: memory is pinned once for all devices."""
        self._pinned = other._pinned

    def submit(self, frames: Sequence[Frame]) -> None:
        """Start on 1..room frames.

        Raises:
            DetectorError: there are more, or a call of CUDA or TensorRT failed.
        """
        if not 0 < len(frames) <= self.room:
            raise DetectorError(f"submit takes 1 to {self.room} frames now, got {len(frames)}")
        self.gpu.enter()
        slot = self._idle[0]
        slot.frames, slot.submitted_ns = tuple(frames), time.monotonic_ns()
        try:
            self._start(slot)
        except DeviceLost:
            self._lost = True
            raise
        self._under_way.append(self._idle.popleft())

    def collect(self) -> list[FrameResult]:
        """Wait for the results of the oldest batch.

        Raises:
            DetectorError: the device failed, the deadline passed, or nothing is under way.
        """
        if not self._under_way:
            raise DetectorError("collect without a submit: nothing is under way")
        self.gpu.enter()
        slot = self._under_way.popleft()
        try:
            self._await(slot.done)
            return self._read(slot)
        except DeviceLost:
            self._lost = True
            raise
        finally:
            slot.frames = ()
            self._idle.append(slot)

    def close(self) -> None:
        """Wait for what is under way and free everything; memory of a lost device is freed with the process."""
        if self._closed:
            return
        self._closed = True
        try:
            self.gpu.enter()
            while self._under_way and not self._lost:
                self._await(self._under_way.popleft().done)
        except DetectorError as exc:
            self._lost = True
            logger.warning("the GPU did not finish its last batches: %s", exc)
        if not self._lost:
            self.programs.clear()  # contexts must be freed before the memory that they use
            self._engine.close()
            self.gpu.close()

    def _start(self, slot: Slot) -> None:
        gpu, batch, thresholds = self.gpu, len(slot.frames), self.thresholds
        slot.rows = self._results.rows(thresholds.max_detections)
        addresses = slot.upload(slot.frames, self._pinned, self._uploads)
        gpu.record(slot.uploaded, self._uploads)
        letterboxes = [Letterbox.fit(frame.meta.size_wh, self._model.input_wh) for frame in slot.frames]
        self._header.write(slot.header, thresholds, letterboxes, addresses)
        gpu.wait(self.compute, slot.uploaded)
        # In the compute stream's order: the batch before has used its header by then.
        gpu.upload(self._memory.header, slot.header.ctypes.data, self._header.nbytes, self.compute)
        graph = self._graphs.get(batch)
        if graph is None:
            self.programs[batch].enqueue(self.compute)
        else:
            gpu.replay(graph, self.compute)
        nbytes = self._results.nbytes(batch, slot.rows)
        gpu.download(slot.results.ctypes.data, self._memory.results, nbytes, self.compute)
        gpu.record(slot.done, self.compute)

    def _await(self, event: int) -> None:
        """Poll until the event is reached: CUDA's own waits have no deadline."""
        start = time.monotonic()
        while not self.gpu.is_reached(event):
            waited = time.monotonic() - start
            if waited > self._deadline_s:
                raise DeviceLost(
                    f"inference hangs: no result within {self._deadline_s:g} s",
                    remedy="the process must be started again",
                )
            time.sleep(min(max(waited * _POLL_SHARE, _POLL_S[0]), _POLL_S[1]))

    def _read(self, slot: Slot) -> list[FrameResult]:
        now_ns = time.monotonic_ns()
        batch, rows = len(slot.frames), slot.rows
        counts = slot.results[: batch * 4].view(np.int32)
        if counts.min() < 0 or counts.max() > rows:
            raise DetectorError(f"the device reports {counts.tolist()} detections, the limit is {rows} per frame")
        found = slot.results[self._results.found : self._results.nbytes(batch, rows)].view(FOUND).reshape(batch, rows)
        return [
            FrameResult(frame.meta, _detections(row[:count]), _timings(frame, slot.submitted_ns, now_ns))
            for frame, row, count in zip(slot.frames, found, counts, strict=True)
        ]

    def _program(self, batch: int) -> Program:
        return Program(
            self.gpu,
            self._engine,
            self._model,
            self._memory,
            header=self._header,
            batch=batch,
            stream=self.compute,
        )

    def _slot(self) -> Slot:
        return Slot(
            self.gpu,
            header_bytes=self._header.nbytes,
            results_bytes=self._results.nbytes(self.max_batch, self._results.capacity),
        )

    def _warm_up_header(self) -> None:
        """Upload a header with tiny black frames, so that the first runs read valid memory."""
        slot, box = self._idle[0], Letterbox.fit(_WARM_UP_WH, self._model.input_wh)
        nbytes = 3 * _WARM_UP_WH[0] * _WARM_UP_WH[1]
        slot.reserve(nbytes)
        self.gpu.fill_zero(slot.device, nbytes, self.compute)
        self._header.write(slot.header, self.thresholds, [box] * self.max_batch, [slot.device] * self.max_batch)
        self.gpu.upload(self._memory.header, slot.header.ctypes.data, self._header.nbytes, self.compute)

    def _self_test(self) -> None:
        """Run every batch size once, in which TensorRT sets up its shapes, and refuse outputs that cannot be right."""
        for program in self.programs.values():
            program.enqueue(self.compute)
            self.gpu.synchronize(self.compute)
        for name, (shape, dtype) in self._model.outputs.tested.items():
            host = self.gpu.allocate_pinned(math.prod(shape) * np.dtype(dtype).itemsize)
            self.gpu.download(host.ctypes.data, self._memory.tensors[name], host.nbytes, self.compute)
            self.gpu.synchronize(self.compute)
            problem = self._model.outputs.problem(host.view(dtype).reshape(shape))
            self.gpu.free_pinned(host)
            if problem:
                raise DataError(f"the engine's {name} holds {problem}", remedy="provision the model again")

    def _captured(self, batch: int) -> int | None:
        """Capture the graph of a batch size; None where it cannot be captured and is enqueued step by step."""
        if not self.programs[batch].can_be_captured:
            return None
        try:
            return self.gpu.capture(self.compute, lambda: self.programs[batch].enqueue(self.compute))
        except DeviceLost:
            raise
        except DetectorError as exc:
            logger.warning("batches of %d run without a CUDA graph: %s", batch, exc)
            return None


def _detections(found: np.ndarray[tuple[int, ...], np.dtype[np.void]]) -> Detections:
    """Copy the rows: the slot's memory is used again."""
    return Detections(found["xyxy"].copy(), found["confidence"].copy(), found["class_id"].copy())


def _timings(frame: Frame, submitted_ns: int, now_ns: int) -> dict[str, float]:
    captured_ns = frame.meta.captured_ns
    return {
        "waiting": (submitted_ns - captured_ns) / 1e6,
        "detect": (now_ns - submitted_ns) / 1e6,
        "total": (now_ns - captured_ns) / 1e6,
    }
