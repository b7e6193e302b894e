"""Reads a source frame by frame: opens it by its kind, paces, loops, rotates, and stamps each frame at the grab."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edged.capture.sources.gstreamer import GstreamerStream
from edged.capture.sources.kinds import Kind, kind_of
from edged.capture.sources.pacing import Pacer
from edged.capture.sources.pattern import Pattern, PatternStream
from edged.capture.sources.pictures import PictureStream
from edged.capture.sources.stream import HardwareLost, Stream, StreamInfo
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError, DataError
from edged.core.types import Pixels

LOST_AFTER_S = 60.0  # without a picture although bytes arrive: key frames of cameras are not further apart
_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


Awaits = Callable[[str, float], None]


def open_stream(spec: CameraSpec, *, awaits: Callable[[str], None], rest: Callable[[float, str], None]) -> Stream:
    """Open what the camera's source names.

    Args:
        spec: the camera.
        awaits: told what a live stream is waiting for, while bytes arrive that hold no picture.
        rest: waits some seconds, may return early; told what for, where that is worth a word.

    Raises:
        CameraError: it cannot be opened.
    """
    kind = kind_of(spec.source)
    if kind is Kind.PATTERN:
        pattern = Pattern.parse(spec.source)
        if pattern.size_wh[0] * pattern.size_wh[1] > spec.max_pixels:
            raise CameraError(f"{spec.source}: more than the limit of {spec.max_pixels} pixels")
        return PatternStream(pattern)
    if kind is Kind.PICTURES:
        return PictureStream(spec.source, fps=spec.fps, max_pixels=spec.max_pixels)
    if kind is not Kind.GSTREAMER:
        from edged.capture.sources.ffmpeg import FfmpegStream  # noqa: PLC0415 - folders and patterns need no FFmpeg

        stream = FfmpegStream(spec, kind, awaits=awaits)
        if not stream.is_snapshot:
            return stream
        from edged.capture.sources.fetching import Endless  # noqa: PLC0415 - with requests
        from edged.capture.sources.snapshots import SnapshotStream  # noqa: PLC0415 - 18 MB that few cameras need

        stream.close()
        rest(0.0, "")  # a sign of life: this was the first of two fetches
        try:
            return SnapshotStream(spec, rest=rest)
        except Endless:
            rest(0.0, "")
            return FfmpegStream(spec, kind, awaits=awaits)
    return GstreamerStream(spec)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a frame was grabbed: wall clock and CLOCK_MONOTONIC, nanoseconds."""

    wall_ns: int
    mono_ns: int


class FrameReader:
    """Reads one opened source; `advance` to a frame, then `retrieve` it or not.

    Args:
        spec: the camera.
        idle: called to wait some seconds; may return early.
        awaits: called while a live stream sends bytes but no picture, with what is awaited and the seconds since the
            last picture.

    Raises:
        CameraError: it cannot be opened.
    """

    def __init__(
        self, spec: CameraSpec, *, idle: Callable[[float], None] = time.sleep, awaits: Awaits = lambda _why, _s: None
    ) -> None:
        self._spec = spec
        self._idle = idle
        self._awaits = awaits
        self._good_s = time.monotonic()
        self._failing = False
        self._begun = False  # the present stream gave a frame
        self._stream = self._open()
        self._pacer = self._new_pacer()
        self._offset_s = 0.0  # media time of earlier rounds of a loop
        self._scratch: Pixels | None = None
        self._round_good = 0
        self._round_bad = 0
        self._damaged_before = 0  # in streams closed by now
        self._skipped = 0
        self.bad = 0
        self._last_bad = ""
        self._hardware_lost = ""

    @property
    def info(self) -> StreamInfo:
        """What is being read; after a hardware decoder failed, the decoder's name says why it is software."""
        info = self._stream.info
        return replace(info, decoder=f"{info.decoder} ({self._hardware_lost})") if self._hardware_lost else info

    @property
    def damaged(self) -> int:
        """Number of damages so far that cost no frame of their own."""
        return self._damaged_before + self._stream.damaged

    @property
    def skipped(self) -> int:
        """Number of frames so far that were passed over, by the limit of `fps` or because newer ones waited."""
        return self._skipped + self._stream.overtaken

    @property
    def position_s(self) -> float:
        """Media time of the frame, seconds from the first of the file; earlier rounds of a loop are added."""
        return self._offset_s + self._stream.position_s

    @property
    def location(self) -> str:
        """Where the present frame comes from, without secrets."""
        return self._stream.location

    @property
    def waits(self) -> bool:
        """Whether the source waits for its consumer (`fast`), so that nothing is ever dropped."""
        return self._spec.pace == "fast" and not self.info.live

    def advance(self) -> Moment | None:
        """Grab until the next frame that is due, and wait for its time. None: the end of a source played once.

        Raises:
            CameraError: the stream is lost, or a whole round of pictures could not be decoded.
        """
        while self._grab():
            position_s = self._offset_s + self._stream.position_s
            wait_s = self._pacer.wait_s(position_s, time.monotonic())
            if wait_s < 0:
                self._skipped += 1
                self._idle(0.0)  # a low limit may skip frames for long: the owner can send a pulse
                continue
            self._wait_until(time.monotonic() + wait_s)
            return Moment(wall_ns=time.time_ns(), mono_ns=time.monotonic_ns())
        return None

    def retrieve(self, into: Pixels | None) -> Pixels:
        """The present frame, upright, (H, W, 3) uint8 BGR: in `into` itself where its shape fits.

        Raises:
            DataError: it cannot be decoded; `advance` to the next.
            CameraError: nothing of a live stream could be decoded for `LOST_AFTER_S`.
        """
        try:
            pixels = self._rotated(into) if self._spec.rotate else self._stream.retrieve(into)
            self._refuse_huge(pixels)
        except DataError as exc:
            self.bad += 1
            self._round_bad += 1
            self._last_bad = str(exc)
            self._failing = True
            self._await(str(exc).removeprefix(f"{self.location}: "))
            raise
        self._round_good += 1
        self._failing = False
        return pixels

    def _refuse_huge(self, pixels: Pixels) -> None:
        height, width = pixels.shape[:2]
        if height * width > self._spec.max_pixels:
            raise DataError(
                f"{self.location}: a frame of {width}x{height}, the limit is {self._spec.max_pixels} pixels"
            )

    def close(self) -> None:
        """Release the source; safe to call twice."""
        self._stream.close()

    def _new_pacer(self) -> Pacer:
        info = self._stream.info
        pictures = isinstance(self._stream, PictureStream)  # their fps is their rate, not a limit
        return Pacer(
            paced=self._spec.pace == "realtime" and not info.live,
            live=info.live,
            fps_limit=0.0 if pictures else self._spec.fps,
            interval_s=1 / info.fps if info.fps else 0.0,
        )

    def _grab(self) -> bool:
        if self._grab_in_software_at_last():
            if not self._failing:  # a frame that is never retrieved counts as good
                self._good_s = time.monotonic()
            return True
        if self._round_bad and not self._round_good:
            raise CameraError(f"none of {self._round_bad} pictures can be read, the last: {self._last_bad}")
        if not self._spec.loop:
            return False
        self._offset_s += self._stream.position_s + 1 / self._stream.info.fps
        self._damaged_before += self._stream.damaged
        self._stream.close()
        self._stream = self._open()  # seeking is inexact in some containers
        self._round_good = self._round_bad = 0
        return self._stream.grab()

    def _grab_in_software_at_last(self) -> bool:
        try:
            grabbed = self._stream.grab()
            self._begun |= grabbed
            return grabbed
        except HardwareLost as exc:
            self._hardware_lost = str(exc)
        # Until this reader ends: a device that failed once would cost a picture again and again.
        self._spec = replace(self._spec, acceleration="none")
        reached_s = self._stream.position_s if self._begun else -math.inf
        self._damaged_before += self._stream.damaged
        self._stream.close()
        self._stream = self._open()
        found = self._stream.grab()
        self._begun = found
        while found and not self._stream.info.live and self._stream.position_s <= reached_s:
            found = self._stream.grab()
        return found

    def _open(self) -> Stream:
        self._begun = False
        return open_stream(self._spec, awaits=self._await, rest=self._rest)

    def _rest(self, seconds: float, reason: str) -> None:
        """A camera is asked again later, because that is its rate or because it wants it so."""
        if reason:
            self._awaits(reason, time.monotonic() - self._good_s)
        self._idle(seconds)

    def _await(self, reason: str) -> None:
        """A live stream sends but gives no picture: report it, or raise CameraError after `LOST_AFTER_S`."""
        if not self._stream.info.live:
            return
        silent_s = time.monotonic() - self._good_s
        if silent_s > LOST_AFTER_S:
            raise CameraError(f"{self.location}: no picture for {LOST_AFTER_S:g} s: {reason}")
        self._awaits(reason, silent_s)

    def _wait_until(self, due_s: float) -> None:
        while (left_s := due_s - time.monotonic()) > 0:
            self._idle(left_s)

    def _rotated(self, into: Pixels | None) -> Pixels:
        self._scratch = self._stream.retrieve(self._scratch)
        # asarray makes no copy: it returns `into` itself where its shape fits
        return np.asarray(cv2.rotate(self._scratch, _ROTATIONS[self._spec.rotate], into), np.uint8)
