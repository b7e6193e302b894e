"""Reads candidate frames of a folder, a video file or a live stream, as (index, pixels)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edged.capture.sources.kinds import Kind
from edged.capture.sources.reader import FrameReader
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError, DataError, UsageError
from edged.core.sources import is_path, scheme_of
from edged.core.trust import Trust
from edged.core.types import Pixels
from provisioning.data.pictures import FORMATS, read_picture
from provisioning.data.samples import list_pictures

if TYPE_CHECKING:
    from edged.capture.sources.ffmpeg import FfmpegStream

TRIES = 4  # candidates for each wanted frame: the next one is used if the one before is a near-duplicate
TIMEOUT_S = 10.0  # for opening a stream, and for each read
_SEEK_GAP = 300  # frames; over a larger gap, seeking is faster than decoding

Unreadable = Callable[[str], None]


def is_stream(source: str) -> bool:
    """Whether `source` is live: a camera of any kind, not a file or folder."""
    return not is_path(source) or source.startswith("/dev/")


def strata(length: int, wanted: int, rng: np.random.Generator) -> list[list[int]]:
    """Candidates in each of `wanted` equal parts of 0..length: a random index, then up to TRIES - 1 larger ones."""
    edges = np.linspace(0, length, min(wanted, length) + 1).astype(int)
    return [_places(int(rng.integers(low, high)), int(high)) for low, high in itertools.pairwise(edges)]


def _places(first: int, end: int) -> list[int]:
    step = max(1, (end - first) // TRIES)
    return list(range(first, end, step))[:TRIES]


def folder_candidates(
    source: Path, wanted: int, rng: np.random.Generator, unreadable: Unreadable
) -> Iterator[Iterator[tuple[int, Pixels]]]:
    """Candidates for each of `wanted` equal parts of the sorted pictures of a folder, a picture or a picture list.

    `unreadable` is called with the problem of each picture that cannot be read.

    Raises:
        DataError: there is no picture.
    """
    pictures = list_pictures([source])
    if not pictures:
        raise DataError(f"{source} holds no picture ({', '.join(FORMATS)})", remedy="name a folder with pictures")

    def read(places: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
        for place in places:
            try:
                yield place, read_picture(pictures[place])
            except DataError as exc:
                unreadable(str(exc))

    for places in strata(len(pictures), wanted, rng):
        yield read(places)


def video_candidates(
    source: Path, wanted: int, rng: np.random.Generator, unreadable: Unreadable
) -> Iterator[Iterator[tuple[int, Pixels]]]:
    """Candidates for each of `wanted` equal parts of a video file, in playing order.

    `unreadable` is called with the problem of each frame that cannot be read.

    Raises:
        DataError: the file is not a video, or has no frames.
    """
    with closing(_Video(source)) as video:

        def read(places: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
            for place in places:
                try:
                    yield place, video.picture(place)
                except (CameraError, DataError) as exc:
                    unreadable(f"{source}: frame {place}: {exc}")

        for places in strata(video.length, wanted, rng):
            yield read(places)


class _Video:
    """A video file whose frames are read by number, in ascending order.

    Raises:
        DataError: the file is not a video, or has no frames.
    """

    def __init__(self, source: Path) -> None:
        self._spec = CameraSpec(name="sample", source=str(source), pace="fast", loop=False)
        try:
            self._stream = self._opened()
            self.length = self._stream.announced or self._counted()
            self._seekable = self._stream.announced > 0
            self._at = 0
            self._stream.grab()
        except CameraError as exc:
            raise DataError(
                f"{source} holds no video stream with frames: {exc}", remedy="name a video, a folder or a camera"
            ) from exc

    def picture(self, place: int) -> Pixels:
        """Frame `place`, (H, W, 3) uint8 BGR.

        Raises:
            CameraError: the video ends before it.
            DataError: this frame cannot be decoded or reached.
        """
        if place - self._at > _SEEK_GAP and self._seekable:
            self._seek(place)
        while self._at < place:
            if not self._stream.grab():
                raise CameraError(f"the video ends at frame {self._at}")
            self._at += 1
        if self._at > place:
            raise DataError("seeking in this video is not exact enough to reach it")
        return self._stream.retrieve(None)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _seek(self, place: int) -> None:
        rate = self._stream.info.fps
        self._seekable = self._stream.seek(place / rate) and self._stream.grab()
        if self._seekable:
            self._at = round(self._stream.position_s * rate)
        else:  # the position is unknown now
            self._reopen()
            self._stream.grab()
            self._at = 0

    def _reopen(self) -> None:
        self._stream.close()
        self._stream = self._opened()

    def _opened(self) -> FfmpegStream:
        from edged.capture.sources.ffmpeg import FfmpegStream  # noqa: PLC0415 - folders of pictures do without FFmpeg

        return FfmpegStream(self._spec, Kind.VIDEO, awaits=lambda _reason: None)

    def _counted(self) -> int:
        """Count the frames of a file that does not say how many it has, such as a raw stream."""
        length = 0
        while self._stream.grab():
            length += 1
        self._reopen()
        return length


def stream_candidates(
    source: str, wanted: int, *, every_s: float, trust: Trust
) -> Iterator[Iterator[tuple[int, Pixels]]]:
    """Candidates of a live stream, one every `every_s` seconds, up to TRIES for each wanted frame.

    Raises:
        CameraError: it cannot be opened, or ends, or stops answering.
        UsageError: `every_s` is not positive, or `source` cannot be a camera.
    """
    if every_s <= 0:
        raise UsageError(f"the interval between frames must be positive, got {every_s:g} s")
    try:
        spec = CameraSpec("sample", source, loop=False, open_timeout_s=TIMEOUT_S, read_timeout_s=TIMEOUT_S)
        spec = replace(spec, verify=trust.verify, ca_file=trust.ca_file)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    if scheme_of(source) in {"http", "https"}:  # a camera that gives a picture for each request is asked again
        with closing(FrameReader(spec)) as reader:
            spec = replace(spec, loop=reader.info.live)
    with closing(FrameReader(spec)) as reader:
        index = 0

        def read() -> Iterator[tuple[int, Pixels]]:
            nonlocal index
            for _ in range(TRIES):
                index, pixels = _next_after(reader, index, every_s)
                yield index, pixels

        for _ in range(wanted):
            yield read()


def _next_after(reader: FrameReader, index: int, wait_s: float) -> tuple[int, Pixels]:
    """Skip frames for `wait_s` seconds, then decode one. Returns its index and pixels."""
    until = time.monotonic() + wait_s
    while True:
        if reader.advance() is None:
            raise CameraError(f"{reader.location}: the stream ended after {index} frames")
        index += 1
        if time.monotonic() >= until:
            try:
                return index, reader.retrieve(None)
            except DataError:
                continue  # `advance` raises if this lasts too long
