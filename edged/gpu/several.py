"""One detector over several GPUs: spreads frames over those with room; results keep the order of the frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from edged.core.errors import DetectorError, EdgedError
from edged.core.types import Frame, FrameResult, Thresholds
from edged.gpu.detector import GpuDetector


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch under way: on which GPU, and how many frames."""

    gpu: str
    frames: int


class SeveralGpus:
    """Implements `edged.core.protocols.TunableDetector`. It owns the detectors and closes them.

    Frames are spread evenly, the GPU with the fewest under way first: two half batches in parallel end sooner than one
    whole batch, and `room` is large enough for every GPU to fill its batches when more frames wait. As results keep the
    order of the frames, the others wait for a much slower GPU.

    When one GPU fails, the whole detector has failed, for good: no result is ever left out.

    Args:
        detectors: by the GPU's name in messages, each on a device of its own; nothing is pinned yet.
    """

    def __init__(self, detectors: Mapping[str, GpuDetector]) -> None:
        self._detectors = dict(detectors)
        self._first, *others = self._detectors.values()
        self._under_way: deque[_Batch] = deque()  # the oldest first
        self._failure = ""
        for other in others:
            other.share_pinned(self._first)

    @property
    def thresholds(self) -> Thresholds:
        """Thresholds of all GPUs; may be replaced at any time."""
        return self._first.thresholds

    @thresholds.setter
    def thresholds(self, thresholds: Thresholds) -> None:
        for detector in self._detectors.values():
            detector.thresholds = thresholds

    @property
    def room(self) -> int:
        """Frames that one `submit` accepts right now."""
        return sum(detector.room for detector in self._detectors.values())

    def pin(self, address: int, nbytes: int) -> bool:
        """Let all GPUs read frames in this host memory directly; False where that is refused. From any thread."""
        return self._first.pin(address, nbytes)

    def unpin(self, address: int) -> None:
        """Undo `pin` before that memory is unmapped and after its frames were collected. From any thread."""
        self._first.unpin(address)

    def submit(self, frames: Sequence[Frame]) -> None:
        """Start on 1..room frames.

        Raises:
            DetectorError: there are more, or a GPU failed now or before.
        """
        self._require_sound()
        if not 0 < len(frames) <= self.room:
            raise DetectorError(f"submit takes 1 to {self.room} frames now, got {len(frames)}")
        start = 0
        for gpu, count in self._shares(len(frames)):
            with self._failing_as_a_whole(gpu):
                self._detectors[gpu].submit(frames[start : start + count])
            self._under_way.append(_Batch(gpu, count))
            start += count

    def collect(self) -> list[FrameResult]:
        """Wait for the results of the oldest batch, whichever GPU has it.

        Raises:
            DetectorError: a GPU failed now or before, or nothing is under way.
        """
        self._require_sound()
        if not self._under_way:
            raise DetectorError("collect without a submit: nothing is under way")
        gpu = self._under_way[0].gpu
        with self._failing_as_a_whole(gpu):
            results = self._detectors[gpu].collect()
        self._under_way.popleft()
        return results

    def close(self) -> None:
        """Close all, even if one fails; the first one last: the others read the memory that it has pinned."""
        with ExitStack() as every:
            for detector in self._detectors.values():
                every.callback(detector.close)

    def _shares(self, count: int) -> list[tuple[str, int]]:
        """Number of frames for each GPU that gets some, in the order in which they will probably be done."""
        before = dict.fromkeys(self._detectors, 0)
        for batch in self._under_way:
            before[batch.gpu] += batch.frames
        room = {gpu: detector.room for gpu, detector in self._detectors.items()}
        shares = dict.fromkeys(self._detectors, 0)
        for _ in range(count):
            open_to_more = [gpu for gpu in shares if shares[gpu] < room[gpu]]
            shares[min(open_to_more, key=lambda gpu: before[gpu] + shares[gpu])] += 1
        return sorted(((gpu, share) for gpu, share in shares.items() if share), key=lambda given: before[given[0]])

    def _require_sound(self) -> None:
        if self._failure:
            raise DetectorError(f"a GPU has failed before: {self._failure}")

    @contextmanager
    def _failing_as_a_whole(self, gpu: str) -> Iterator[None]:
        try:
            with naming(gpu):
                yield
        except Exception as exc:
            self._failure = str(exc)
            raise


@contextmanager
def naming(gpu: str) -> Iterator[None]:
    """Put the GPU's name in front of every error.

    Raises:
        EdgedError: what was raised within, of the same class.
    """
    try:
        yield
    except EdgedError as exc:
        raise type(exc)(f"{gpu}: {exc}") from exc
