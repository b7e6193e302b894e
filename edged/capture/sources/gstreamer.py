"""Reads GStreamer pipelines with OpenCV's VideoCapture; `ffmpeg.py` reads files, networks and devices."""

from __future__ import annotations

import time

import cv2
import numpy as np

from edged.capture.sources.stream import OpenError, StreamInfo
from edged.capture.spec import MAX_FPS, CameraSpec
from edged.core.errors import CameraError, DataError
from edged.core.types import Pixels


class GstreamerStream:
    """One VideoCapture. Implements `Stream`.

    Args:
        spec: what to open and how.

    Raises:
        CameraError: it cannot be opened.
    """

    def __init__(self, spec: CameraSpec) -> None:
        self._location = spec.shown_source
        self._max_pixels = spec.max_pixels
        self._read_timeout_s = spec.read_timeout_s
        self._capture = cv2.VideoCapture()
        try:
            self._open(spec)
            self._info = self._describe()
        except BaseException:
            self.close()
            raise
        self.damaged = self.overtaken = 0

    @property
    def info(self) -> StreamInfo:
        """What is being read; always live."""
        return self._info

    @property
    def position_s(self) -> float:
        """Always 0: these are live."""
        return 0.0

    @property
    def location(self) -> str:
        """The pipeline without secrets."""
        return self._location

    def grab(self) -> bool:
        """Wait for the next frame.

        Raises:
            CameraError: the pipeline is lost or stalled.
        """
        began_s = time.monotonic()
        try:
            grabbed = bool(self._capture.grab())
        except cv2.error as exc:
            raise CameraError(f"{self._location}: reading failed: {exc.err}") from exc
        if not grabbed or time.monotonic() - began_s >= self._read_timeout_s:
            raise CameraError(f"{self._location}: the stream ended or stalled")
        return True

    def retrieve(self, into: Pixels | None) -> Pixels:
        """The grabbed frame, (H, W, 3) uint8 BGR: in `into` itself where its shape fits, else a new array.

        Raises:
            DataError: it cannot be decoded; the next may.
        """
        try:
            done, picture = self._capture.retrieve() if into is None else self._capture.retrieve(into)
        except cv2.error as exc:
            raise DataError(f"{self._location}: a frame cannot be decoded: {exc.err}") from exc
        if not done or picture is None:
            raise DataError(f"{self._location}: a frame cannot be decoded")
        return _as_bgr(picture, self._location)

    def close(self) -> None:
        """Release everything; safe to call twice."""
        self._capture.release()

    def _open(self, spec: CameraSpec) -> None:
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise CameraError(
                f"{self._location}: this OpenCV is built without GStreamer",
                remedy="use rtsp:// or http://, or an OpenCV with GStreamer (on a Jetson: the system's)",
            )
        try:
            opened = self._capture.open(spec.source.removeprefix("gst:"), cv2.CAP_GSTREAMER)
        except cv2.error as exc:
            raise CameraError(f"{self._location} cannot be opened: {exc.err}") from exc
        if not opened:
            guess = "the pipeline does not start; it must end in appsink"
            raise OpenError(f"{self._location} cannot be opened: {guess}")

    def _describe(self) -> StreamInfo:
        get = self._capture.get
        width, height = get(cv2.CAP_PROP_FRAME_WIDTH), get(cv2.CAP_PROP_FRAME_HEIGHT)
        if width * height > self._max_pixels:
            raise CameraError(f"{self._location}: {width:.0f}x{height:.0f} pixels, the limit is {self._max_pixels}")
        fps = get(cv2.CAP_PROP_FPS)
        hardware = get(cv2.CAP_PROP_HW_ACCELERATION) > 0
        codec = _fourcc(get(cv2.CAP_PROP_FOURCC))
        decoder = f"{self._capture.getBackendName()} {codec}, {'hardware' if hardware else 'software'}"
        return StreamInfo(decoder=decoder, live=True, fps=fps if 0 < fps <= MAX_FPS else 0.0, may_freeze=True)


def _fourcc(value: float) -> str:
    code = int(value) & 0xFFFFFFFF
    text = code.to_bytes(4, "little").decode("latin-1").strip("\0 ")
    return text.lower() if text.isalnum() else "unknown codec"


def _as_bgr(picture: object, where: str) -> Pixels:
    """Convert grey and BGRA pictures to BGR; DataError for anything else that is not (H, W, 3) uint8."""
    array = np.asarray(picture)
    channels = {2: 1, 3: array.shape[-1]}.get(array.ndim) if array.size and array.dtype == np.uint8 else None
    if channels not in _TO_BGR:
        raise DataError(f"{where}: a frame of shape {array.shape} {array.dtype} is no picture")
    conversion = _TO_BGR[channels]
    return array if conversion is None else np.asarray(cv2.cvtColor(array, conversion), np.uint8)


_TO_BGR: dict[int | None, int | None] = {1: cv2.COLOR_GRAY2BGR, 3: None, 4: cv2.COLOR_BGRA2BGR}
