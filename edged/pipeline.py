"""Moves frames: newest frames -> detector -> stages -> sink. Depends on their protocols only."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from edged.core.errors import EdgedError
from edged.core.protocols import Detector, FrameSupply, ResultSink, Stage
from edged.core.types import Frame, FrameResult
from edged.health import Health

IDLE_S = 0.2  # how long to wait for a frame before checking for requests to stop or to replace the detector

logger = logging.getLogger(__name__)


class Pipeline:
    """One thread that owns the detector and keeps it busy.

    Args:
        supply: where frames come from.
        detector: closed by the pipeline, when it is replaced or the pipeline ends.
        sink: where results go; not closed here.
        health: counts every result and gets a beat in every turn of the loop.
        stages: process each result with its frame, in this order; closed when the pipeline ends.
    """

    def __init__(
        self,
        *,
        supply: FrameSupply,
        detector: Detector,
        sink: ResultSink,
        health: Health,
        stages: Sequence[Stage] = (),
    ) -> None:
        self._supply = supply
        self._detector = detector
        self._sink = sink
        self._health = health
        self._stages = tuple(stages)
        self._to_forget: deque[str] = deque()
        self._under_way: deque[Frame] = deque()
        self._successor: tuple[Detector, Callable[[], None]] | None = None
        self._successor_lock = threading.Lock()
        self._ended = False  # the thread has ended: no successor is taken any more
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread runs; False after `stop`, a failure, or when all sources have ended."""
        return self._thread.is_alive()

    def replace_detector(self, detector: Detector, *, on_swap: Callable[[], None]) -> None:
        """Use another detector from the next frame on; frames under way finish on the old one, which is closed.

        If it is called again before that, the detector not yet used is closed, too, and its `on_swap` is not called.

        Args:
            detector: owned by the pipeline from now on; closed at once where the pipeline has ended.
            on_swap: called between the last result of the old and the first of the new.
        """
        with self._successor_lock:
            unused, self._successor = self._successor, (detector, on_swap)
            if self._ended:
                unused, self._successor = self._successor, None
        if unused is not None:
            unused[0].close()

    def forget(self, cameras: Iterable[str]) -> None:
        """Have the stages forget removed cameras, after the frames under way now."""
        self._to_forget.extend(cameras)

    def stop(self, *, timeout_s: float) -> bool:
        """Finish the frames under way, publish them and end.

        Returns:
            Whether it ended within `timeout_s`; if not, an inference hangs.
        """
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and not (self._supply.ended and not self._under_way):
                self._health.beat()
                self._swap_detector()
                self._forget_cameras()
                for stage in self._stages:
                    stage.rest()
                self._refill(wait_s=0 if self._under_way else IDLE_S)
                self._finish_oldest(refill=True)
            self._finish_all()
        except Exception as exc:
            self.failure = exc  # whoever started the thread reads it and decides
            if not isinstance(exc, EdgedError):
                logger.exception("the pipeline failed")
        finally:
            self._release_all()
            self._close_stages()
            self._detector.close()
            with self._successor_lock:
                self._ended = True
                successor, self._successor = self._successor, None
            if successor is not None:
                successor[0].close()

    def _refill(self, *, wait_s: float) -> None:
        """Give the detector frames while it has room and frames wait."""
        while room := self._detector.room:
            frames = self._supply.take(room, timeout_s=wait_s)
            if not frames:
                return
            self._under_way.extend(frames)
            self._detector.submit(frames)
            wait_s = 0

    def _finish_oldest(self, *, refill: bool) -> None:
        if not self._under_way:
            return
        results = self._detector.collect()
        if not self._stages:
            self._supply.release([self._under_way.popleft() for _ in results])  # no stage needs the pixels
        if refill and self._successor is None and not self._stop.is_set():
            self._refill(wait_s=0)  # first, so that the device does not wait for stages and JSON
        for result in results:
            self._hand_on(self._through_stages(result) if self._stages else result)

    def _through_stages(self, result: FrameResult) -> FrameResult:
        frame = self._under_way.popleft()
        try:
            for stage in self._stages:
                result = stage.process(frame, result)
        finally:
            self._supply.release([frame])
        return result

    def _hand_on(self, result: FrameResult) -> None:
        self._health.count(result)
        self._sink.publish(result)

    def _forget_cameras(self) -> None:
        if not self._to_forget:
            return
        self._finish_all()
        while self._to_forget:
            camera = self._to_forget.popleft()
            for stage in self._stages:
                stage.forget(camera)

    def _finish_all(self) -> None:
        while self._under_way:
            self._finish_oldest(refill=False)

    def _close_stages(self) -> None:
        for stage in self._stages:
            try:
                stage.close()
            except Exception:
                logger.exception("a stage cannot be closed")

    def _swap_detector(self) -> None:
        if self._successor is None:
            return
        self._finish_all()
        with self._successor_lock:
            successor, self._successor = self._successor, None
        if successor is not None:
            self._detector.close()
            self._detector, on_swap = successor
            on_swap()

    def _release_all(self) -> None:
        self._supply.release(self._under_way)
        self._under_way.clear()
