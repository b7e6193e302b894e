"""Where frames come from: candidates of a folder, a video file or a live stream, as (index, pixels)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edged.core.errors import CameraError, DataError, UsageError
from edged.core.redact import redact
from edged.core.types import Pixels
from provisioning.data.pictures import FORMATS, read_picture
from provisioning.data.samples import list_pictures

TRIES = 4  # candidates for each wanted frame: the later ones are looked at when the first are duplicates
OPEN_TIMEOUT_MS, READ_TIMEOUT_MS = 10_000, 10_000
_SEEK_GAP = 300  # frames; beyond it a seek is cheaper than decoding what lies between

Unreadable = Callable[[str], None]


def is_stream(source: str) -> bool:
    """Whether `source` is live: a URL or a device, as opposed to a file or folder."""
    return "://" in source or source.startswith("/dev/")


def strata(length: int, wanted: int, rng: np.random.Generator) -> list[list[int]]:
    """`wanted` equal stretches of 0..length: a seeded place in each, then up to TRIES - 1 later ones, ascending."""
    edges = np.linspace(0, length, min(wanted, length) + 1).astype(int)
    return [_places(int(rng.integers(low, high)), int(high)) for low, high in itertools.pairwise(edges)]


def _places(first: int, end: int) -> list[int]:
    step = max(1, (end - first) // TRIES)
    return list(range(first, end, step))[:TRIES]


def folder_candidates(
    source: Path, wanted: int, rng: np.random.Generator, unreadable: Unreadable
) -> Iterator[Iterator[tuple[int, Pixels]]]:
    """Per stretch of the sorted pictures below `source` (a folder, a picture or a list of them), its candidates.

    Raises:
        DataError: no picture there.
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
    """Per stretch of a video file, its candidates, in playing order.

    Raises:
        DataError: not a video, or one without frames.
    """
    capture = cv2.VideoCapture(str(source))
    try:
        length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        if length < 1:
            raise DataError(f"{source} holds no video stream with frames", remedy="name a video, a folder or a camera")
        position = 0

        def read(places: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
            nonlocal position
            for place in places:
                position = _advance(capture, position, place)
                ok, pixels = capture.read() if position == place else (False, None)
                position += 1
                if ok and pixels is not None:
                    yield place, np.asarray(pixels, np.uint8)
                else:
                    unreadable(f"{source}: frame {place} cannot be decoded")

        for places in strata(length, wanted, rng):
            yield read(places)
    finally:
        capture.release()


def _advance(capture: cv2.VideoCapture, position: int, place: int) -> int:
    """Move on to frame `place`; returns where the capture really is."""
    if place - position > _SEEK_GAP and capture.set(cv2.CAP_PROP_POS_FRAMES, place):
        return place
    while position < place and capture.grab():
        position += 1
    return position


def stream_candidates(source: str, wanted: int, *, every_s: float) -> Iterator[Iterator[tuple[int, Pixels]]]:
    """Frames of a live stream, one each `every_s` seconds; up to TRIES for each wanted frame.

    Raises:
        CameraError: it cannot be opened or stops answering.
        UsageError: `every_s` is not positive.
    """
    if every_s <= 0:
        raise UsageError(f"the interval between frames must be positive, got {every_s:g} s")
    options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
    is_device = source.startswith("/dev/")
    capture = cv2.VideoCapture(source) if is_device else cv2.VideoCapture(source, cv2.CAP_FFMPEG, options)
    try:
        if not capture.isOpened():
            raise CameraError(f"{redact(source)} cannot be opened", remedy="check the address, the cable, the rights")
        index = 0

        def read() -> Iterator[tuple[int, Pixels]]:
            nonlocal index
            for _ in range(TRIES):
                index, pixels = _next_after(capture, index, every_s, redact(source))
                yield index, pixels

        for _ in range(wanted):
            yield read()
    finally:
        capture.release()


def _next_after(capture: cv2.VideoCapture, index: int, wait_s: float, name: str) -> tuple[int, Pixels]:
    """Let frames pass for `wait_s`, then decode one."""
    until = time.monotonic() + wait_s
    while True:
        if not capture.grab():
            raise CameraError(f"{name}: the stream ended or stopped answering after {index} frames")
        index += 1
        if time.monotonic() >= until:
            ok, pixels = capture.retrieve()
            if ok:
                return index, np.asarray(pixels, np.uint8)
