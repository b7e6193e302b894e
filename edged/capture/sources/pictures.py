"""Single pictures, folders and globs of them, as a stream."""

from __future__ import annotations

import glob
import os
import stat
from pathlib import Path

import cv2
import numpy as np

from edged.capture.sources.kinds import PICTURE_SUFFIXES
from edged.capture.sources.stream import StreamInfo
from edged.core.errors import CameraError, DataError
from edged.core.picture_header import picture_size
from edged.core.types import Pixels

MAX_FILE_BYTES = 1 << 28
DEFAULT_FPS = 1.0  # of pictures played in real time where nothing else is configured


def find_pictures(source: str) -> list[str]:
    """The files that a picture, folder or glob names, sorted; at least one. Hidden files of a folder are left out.

    Raises:
        CameraError: there are none, or the folder cannot be read.
    """
    if os.path.isdir(source):
        try:
            names = sorted(os.listdir(source))
        except OSError as exc:
            raise CameraError(f"folder {source!r} cannot be read: {exc.strerror}") from exc
        # macOS puts a file `._a.jpg` beside a.jpg; it is no picture
        shown = [name for name in names if not name.startswith(".")]
        found = [os.path.join(source, name) for name in shown if Path(name).suffix.lower() in PICTURE_SUFFIXES]
        if not found:
            raise CameraError(
                f"folder {source!r} holds no pictures among its {len(names)} entries",
                remedy=f"pictures end in {', '.join(sorted(PICTURE_SUFFIXES))}; a video is named by its own path",
            )
        return found
    if os.path.exists(source):
        return [source]
    found = sorted(path for path in glob.glob(source, recursive=True) if os.path.isfile(path))
    if not found:
        raise CameraError(f"no file matches {source!r}")
    return found


def read_picture(path: str, *, max_pixels: int) -> Pixels:
    """One picture, (H, W, 3) uint8 BGR, turned upright as its EXIF data says.

    Raises:
        DataError: unreadable, empty, no picture, truncated, damaged or larger than `max_pixels`.
    """
    where = repr(path)
    return decode_picture(_read_file(path, where), where, max_pixels=max_pixels)


def decode_picture(data: bytes, where: str, *, max_pixels: int) -> Pixels:
    """The picture in a file's bytes, (H, W, 3) uint8 BGR, turned upright as its EXIF data says.

    Args:
        data: the file.
        where: it comes from, for messages.
        max_pixels: a larger one is refused.

    Raises:
        DataError: empty, no picture, truncated, damaged or too large.
    """
    width, height = picture_size(data, where)
    if width * height > max_pixels:
        raise DataError(f"{where}: {width}x{height} pixels, the limit is {max_pixels} in all", remedy="scale it down")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # applies EXIF orientation
    except cv2.error as exc:
        raise DataError(f"{where} cannot be decoded: {exc.err}") from exc
    if pixels is None:
        raise DataError(f"{where} cannot be decoded: damaged, or a variant that OpenCV does not read")
    return np.asarray(pixels, np.uint8)


def _read_file(path: str, where: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not block
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{where} is not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise DataError(f"{where}: {status.st_size} bytes, the limit is {MAX_FILE_BYTES}")
            return file.read(MAX_FILE_BYTES)
    except OSError as exc:
        raise DataError(f"{where} cannot be read: {exc.strerror}") from exc


class PictureStream:
    """Pictures one after the other. Implements `Stream`.

    Args:
        source: a file, folder or glob.
        fps: pictures per second when played in real time; 0 = one per second.
        max_pixels: larger ones are refused.
    """

    def __init__(self, source: str, *, fps: float, max_pixels: int) -> None:
        self._paths = find_pictures(source)
        self._fps = fps or DEFAULT_FPS
        self._max_pixels = max_pixels
        self._index = -1
        self.damaged = self.overtaken = 0

    @property
    def info(self) -> StreamInfo:
        """Number and rate of the pictures; not live, so that the reader paces them."""
        return StreamInfo(decoder=f"OpenCV pictures ({len(self._paths)})", live=False, fps=self._fps, may_freeze=False)

    @property
    def position_s(self) -> float:
        """Media time of the present picture, seconds from the first."""
        return max(self._index, 0) / self._fps

    @property
    def location(self) -> str:
        """Path of the present picture."""
        return self._paths[max(self._index, 0)]

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self._paths)

    def grab(self) -> bool:
        """Go to the next picture; False after the last."""
        if self._index + 1 >= len(self._paths):
            return False
        self._index += 1
        return True

    def retrieve(self, into: Pixels | None) -> Pixels:
        """Read and decode the present picture into a new array, (H, W, 3) uint8 BGR.

        Raises:
            DataError: it cannot be decoded; the next may.
        """
        del into  # imdecode always allocates
        return read_picture(self._paths[self._index], max_pixels=self._max_pixels)

    def close(self) -> None:
        """Nothing to release: each picture is opened and closed by itself."""
