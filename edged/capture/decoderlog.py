"""What FFmpeg, OpenCV and codecs print, caught in a child process: the reason of a failure, and damaged frames."""

from __future__ import annotations

import fcntl
import os
import re

from edged.core.redact import redact

MAX_BYTES = 65_536
LEVEL = 40  # FFmpeg's VERBOSE: H.264 tells of a new picture size at it, and nothing is told of every frame
_FFMPEG = re.compile(r"\[OPENCV:FFMPEG:(\d+)\] (.*)")
_TIMEOUT = re.compile(r"Stream timeout triggered after ([\d.]+) ms")
_REFUSED = re.compile(r"\b(401 \(?Unauthorized|403 \(?Forbidden)")
_ERROR_LEVEL = 16
_WARNING_LEVEL = 24  # 401 is told at it
_RESIZED = re.compile(r"Reinit context to (\d+)x(\d+)")
_STALE = re.compile(r"Slice parameters .* are invalid")


class DecoderLog:
    """Standard output and error of this process from now on, in memory. Only for a process of our own."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("edged-log", os.MFD_CLOEXEC)
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_APPEND)
        os.dup2(self._descriptor, 1)
        os.dup2(self._descriptor, 2)
        self._read = 0

    def fresh(self) -> list[str]:
        """Lines since the last call; costs one fstat where there are none."""
        size = os.fstat(self._descriptor).st_size
        if size == self._read:
            return []
        text = os.pread(self._descriptor, min(size - self._read, MAX_BYTES), self._read).decode("utf-8", "replace")
        self._read = size
        if size > MAX_BYTES:
            os.ftruncate(self._descriptor, 0)
            self._read = 0
        return text.splitlines()


def damaged(lines: list[str]) -> bool:
    """Whether a decoder complained of an error."""
    return any(_level(line) <= _ERROR_LEVEL or "Corrupt JPEG" in line for line in lines)


def stale(lines: list[str]) -> bool:
    """Whether OpenCV 4 could not convert a picture of a new size and handed out the old one again."""
    return any(_STALE.search(line) for line in lines)


def coded_size(lines: list[str]) -> tuple[int, int] | None:
    """The picture size that a decoder last set itself up for, if it tells."""
    for line in reversed(lines):
        match = _RESIZED.search(line)
        if match:
            return int(match[1]), int(match[2])
    return None


def cause(lines: list[str]) -> str:
    """The line that tells a person why, redacted; empty where none does."""
    for line in lines:
        timeout = _TIMEOUT.search(line)
        if timeout:
            return f"no answer within {float(timeout[1]) / 1000:.1f} s"
    for line in reversed(lines):
        match = _FFMPEG.match(line)
        if match and match[2].strip() and int(match[1]) <= _WARNING_LEVEL:
            return redact(match[2].strip())[:300]
    return ""


def refused(lines: list[str]) -> bool:
    """Whether the server asked for other credentials."""
    return any(_REFUSED.search(line) for line in lines)


def _level(line: str) -> int:
    """FFmpeg's; a high number where the line is not FFmpeg's."""
    match = _FFMPEG.match(line)
    return int(match[1]) if match else _NOT_FFMPEG


_NOT_FFMPEG = 1000
