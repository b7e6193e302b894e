"""Passes the frames of many sources, one after the other, through a detector and keeps it busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import nan

from edged.capture.sources.once import InlineSource
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError, DataError, EdgedError
from edged.core.protocols import Detector
from edged.core.trust import Trust
from edged.core.types import Frame, FrameResult
from edged.oneshot.sources import Item


@dataclass(frozen=True, slots=True)
class Look:
    """One frame and its source.

    Attributes:
        item: the source named on the command line.
        frame: as captured.
        location: the file's path, or the URL without credentials.
        fps: frames per second that the source claims; 0 where unknown.
        position_s: media time of a frame of a file, seconds from its first; NaN where the source is live.
    """

    item: Item
    frame: Frame
    location: str
    fps: float
    position_s: float = nan


OnError = Callable[[Item, EdgedError], None]


def frames(items: Iterable[Item], *, trust: Trust, on_error: OnError) -> Iterator[Look]:
    """Every frame of every source. Failures go to `on_error`; the other sources are still read."""
    for item in items:
        yield from _frames_of(item, trust, on_error)


def _frames_of(item: Item, trust: Trust, on_error: OnError) -> Iterator[Look]:
    bad = _Bad(item, on_error)
    try:
        spec = CameraSpec(name=item.name, source=item.source, pace="fast", loop=False)
        spec = replace(spec, verify=trust.verify, ca_file=trust.ca_file)
        with InlineSource(spec) as source:
            while (frame := _read(source.read, bad.tell)) is not None:
                position_s = nan if source.info.live else source.position_s
                yield Look(item, frame, source.location, source.info.fps, position_s)
    except CameraError as exc:
        if not (item.is_picture and bad.count):  # "none of 1 pictures can be read" was reported already
            on_error(item, exc)
    except ValueError as exc:  # the spec is refused, e.g. a path that is too long
        on_error(item, DataError(str(exc)))
    bad.sum_up()


class _Bad:
    """Reports frames of one source that could not be decoded: the first one, and at the end their number."""

    def __init__(self, item: Item, on_error: OnError) -> None:
        self._item, self._on_error = item, on_error
        self.count = 0

    def tell(self, error: DataError) -> None:
        self.count += 1
        if self.count == 1:
            self._on_error(self._item, error)

    def sum_up(self) -> None:
        if self.count > 1:
            self._on_error(self._item, DataError(f"{self.count} frames could not be decoded"))


def _read(read: Callable[[], Frame | None], tell: Callable[[DataError], None]) -> Frame | None:
    """The next frame that can be decoded; others are reported and skipped."""
    while True:
        try:
            return read()
        except DataError as exc:
            tell(exc)


def detect(looks: Iterable[Look], detector: Detector) -> Iterator[tuple[Look, FrameResult]]:
    """Results in the order of the frames; as many frames are under way at once as the detector takes.

    Raises:
        DetectorError: the device failed.
    """
    waiting: deque[Look] = deque()
    for look in looks:
        if not detector.room:
            yield from zip([waiting.popleft()], detector.collect(), strict=True)
        detector.submit([look.frame])
        waiting.append(look)
    while waiting:
        yield from zip([waiting.popleft()], detector.collect(), strict=True)
