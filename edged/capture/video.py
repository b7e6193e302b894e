"""Video files, network streams, V4L2 devices and GStreamer pipelines through OpenCV's VideoCapture."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import time
from collections.abc import Iterator

import cv2
import numpy as np

from edged.capture.kinds import Kind
from edged.capture.spec import MAX_FPS, CameraSpec
from edged.capture.stream import OpenError, OpenFileError, StreamInfo
from edged.core.errors import CameraError, DamagedFile, DataError
from edged.core.sources import scheme_of
from edged.core.types import Pixels

DEFAULT_FPS = 25.0  # of files that claim none
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# Over UDP every loss smears the picture. To guess the rate of a stream FFmpeg would read twenty frames before the first
# is ours: 4 s at 5 frames a second.
_RTSP = "rtsp_transport;tcp|fpsprobesize;0"
EARLY_END = 0.5  # of the announced frames, which many containers only estimate


class VideoStream:
    """One VideoCapture. Implements `Stream`.

    Args:
        spec: what to open and how.
        kind: NETWORK, DEVICE, VIDEO or GSTREAMER.

    Raises:
        CameraError: it cannot be opened.
    """

    def __init__(self, spec: CameraSpec, kind: Kind) -> None:
        self._location = spec.source if kind in {Kind.VIDEO, Kind.DEVICE} else spec.shown_source
        self._descriptor = -1
        self._max_pixels = spec.max_pixels
        self._read_timeout_s = spec.read_timeout_s
        self._capture = cv2.VideoCapture()
        try:
            self._open(spec, kind)
            self._info = self._describe(kind)
        except OSError as exc:
            self.close()
            raise CameraError(f"{spec.source!r} cannot be opened: {exc.strerror}") from exc
        except BaseException:
            self.close()
            raise
        self._announced = max(self._capture.get(cv2.CAP_PROP_FRAME_COUNT), 0.0)
        self._position_s = 0.0
        self._grabbed = 0

    @property
    def info(self) -> StreamInfo:
        """See `Stream`."""
        return self._info

    @property
    def position_s(self) -> float:
        """See `Stream`."""
        return self._position_s

    @property
    def location(self) -> str:
        """See `Stream`."""
        return self._location

    def grab(self) -> bool:
        """See `Stream`."""
        began_s = time.monotonic()
        try:
            grabbed = bool(self._capture.grab())
        except cv2.error as exc:
            raise CameraError(f"{self._location}: reading failed: {exc.err}") from exc
        # At its time-out OpenCV hands out what the decoder still held, as if the stream went on, and waits once more.
        stalled = self._info.live and time.monotonic() - began_s >= self._read_timeout_s
        if grabbed and not stalled:
            self._follow_position()
            self._grabbed += 1
            return True
        if self._info.live:
            raise CameraError(f"{self._location}: the stream ended or stalled")
        if not self._grabbed:
            raise DamagedFile(f"{self._location!r} has no video frame that can be decoded (audio only, or damaged)")
        if self._grabbed < self._announced * EARLY_END:
            raise DamagedFile(
                f"{self._location!r} is damaged: it announces {self._announced:.0f} frames, "
                f"reading stopped after {self._grabbed}"
            )
        return False

    def retrieve(self, into: Pixels | None) -> Pixels:
        """See `Stream`."""
        try:
            done, picture = self._capture.retrieve() if into is None else self._capture.retrieve(into)
        except cv2.error as exc:
            raise DataError(f"{self._location}: a frame cannot be decoded: {exc.err}") from exc
        if not done or picture is None:
            raise DataError(f"{self._location}: a frame cannot be decoded")
        return _as_bgr(picture, self._location)

    def close(self) -> None:
        """See `Stream`."""
        self._capture.release()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, spec: CameraSpec, kind: Kind) -> None:
        address, backend, options = self._address(spec, kind)
        try:
            with _rtsp_options() if scheme_of(spec.source).startswith("rtsp") else contextlib.nullcontext():
                opened = self._capture.open(address, backend, options)
        except cv2.error as exc:
            raise CameraError(f"{self._location} cannot be opened: {exc.err}") from exc
        if not opened:
            error = OpenFileError if kind is Kind.VIDEO else OpenError
            raise error(f"{self._location} cannot be opened", _GUESSES[kind])

    def _address(self, spec: CameraSpec, kind: Kind) -> tuple[str, int, list[int]]:
        """What OpenCV is asked to open, with which backend and options."""
        if kind is Kind.GSTREAMER:
            if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
                raise CameraError(
                    f"{self._location}: this OpenCV is built without GStreamer",
                    remedy="use rtsp:// or http://, or an OpenCV with GStreamer (on a Jetson: the system's)",
                )
            return spec.source.removeprefix("gst:"), cv2.CAP_GSTREAMER, []
        if kind is Kind.DEVICE:
            path = _device(spec.source)
            self._location = path
            return path, cv2.CAP_V4L2, []
        # Without CAP_FFMPEG said explicitly OpenCV ignores the time-outs.
        return (spec.source if kind is Kind.NETWORK else self._file(spec.source)), cv2.CAP_FFMPEG, _ffmpeg_options(spec)

    def _file(self, source: str) -> str:
        """An absolute path, which FFmpeg cannot take for a protocol; another road to a name that is not UTF-8."""
        path = os.path.abspath(source)
        try:
            path.encode()
        except UnicodeEncodeError:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return f"/proc/self/fd/{self._descriptor}"
        if os.path.getsize(path) == 0:
            raise DamagedFile(f"{source!r} is empty (0 bytes)")
        return path

    def _describe(self, kind: Kind) -> StreamInfo:
        get = self._capture.get
        width, height = get(cv2.CAP_PROP_FRAME_WIDTH), get(cv2.CAP_PROP_FRAME_HEIGHT)
        if width * height > self._max_pixels:
            raise CameraError(f"{self._location}: {width:.0f}x{height:.0f} pixels, the limit is {self._max_pixels}")
        fps = get(cv2.CAP_PROP_FPS)
        fps = fps if 0 < fps <= MAX_FPS else 0.0
        # A file served over HTTP knows its length; a stream does not. RTSP is played by its server's clock.
        stored = self._location.startswith("http") and get(cv2.CAP_PROP_FRAME_COUNT) > 0
        live = kind is not Kind.VIDEO and not stored
        hardware = get(cv2.CAP_PROP_HW_ACCELERATION) > 0
        codec = _fourcc(get(cv2.CAP_PROP_FOURCC))
        decoder = f"{self._capture.getBackendName()} {codec}, {'hardware' if hardware else 'software'}"
        return StreamInfo(decoder=decoder, live=live, fps=fps if live else fps or DEFAULT_FPS, may_freeze=True)

    def _follow_position(self) -> None:
        if self._info.live:
            return
        claimed = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._grabbed and not self._position_s < claimed < self._position_s + 3600:  # absent or broken time stamps
            claimed = self._position_s + 1 / self._info.fps
        self._position_s = claimed if self._grabbed else 0.0


_GUESSES = {
    Kind.NETWORK: "no answer in time, refused, or nothing that FFmpeg can decode",
    Kind.VIDEO: "no video that FFmpeg can decode (damaged, audio only, or not a video)",
    Kind.DEVICE: "no video comes from it, or another program is using it",
    Kind.GSTREAMER: "the pipeline does not start; it must end in appsink",
}


@contextlib.contextmanager
def _rtsp_options() -> Iterator[None]:
    """Tell FFmpeg how to open RTSP, unless the environment says it already; no other kind of source is to see it."""
    if _OPTIONS in os.environ:
        yield
        return
    os.environ[_OPTIONS] = _RTSP
    try:
        yield
    finally:
        del os.environ[_OPTIONS]


def _ffmpeg_options(spec: CameraSpec) -> list[int]:
    options = {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: int(spec.open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: int(spec.read_timeout_s * 1000),
        cv2.CAP_PROP_N_THREADS: spec.decode_threads,
    }
    if spec.acceleration == "any":
        options[cv2.CAP_PROP_HW_ACCELERATION] = int(cv2.VIDEO_ACCELERATION_ANY)
    return [number for pair in options.items() for number in pair]


def _device(source: str) -> str:
    """The device's path, checked so far that a person learns what is wrong.

    Raises:
        CameraError: not there, not a device, or not ours to open.
    """
    path = f"/dev/video{int(source)}" if source.isdecimal() else source
    try:
        mode = os.stat(path).st_mode
    except OSError as exc:
        present = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"
        raise CameraError(f"{path}: {exc.strerror}", remedy=f"video devices here: {present}") from exc
    if not stat.S_ISCHR(mode):
        raise CameraError(f"{path} is not a device")
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraError(f"{path}: permission denied", remedy="add the user that runs edged to the group `video`")
    return path


def _fourcc(value: float) -> str:
    code = int(value) & 0xFFFFFFFF
    text = code.to_bytes(4, "little").decode("latin-1").strip("\0 ")
    return text.lower() if text.isalnum() else "unknown codec"


def _as_bgr(picture: object, where: str) -> Pixels:
    """Grey and BGRA pictures become BGR; anything else that is not (H, W, 3) uint8 is refused."""
    array = np.asarray(picture)
    channels = {2: 1, 3: array.shape[-1]}.get(array.ndim) if array.size and array.dtype == np.uint8 else None
    if channels not in _TO_BGR:
        raise DataError(f"{where}: a frame of shape {array.shape} {array.dtype} is no picture")
    conversion = _TO_BGR[channels]
    return array if conversion is None else np.asarray(cv2.cvtColor(array, conversion), np.uint8)


_TO_BGR: dict[int | None, int | None] = {1: cv2.COLOR_GRAY2BGR, 3: None, 4: cv2.COLOR_BGRA2BGR}
