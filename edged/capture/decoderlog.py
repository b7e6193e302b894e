"""What FFmpeg, OpenCV and codecs print, caught in a child process: the reason of a failure, and damaged frames."""

from __future__ import annotations

import fcntl
import os
import re

from edged.core.redact import redact

MAX_BYTES = 65_536
QUIET = 24  # FFmpeg's level WARNING: 401 is told at it
_FFMPEG = re.compile(r"\[OPENCV:FFMPEG:(\d+)\] (.*)")
_TIMEOUT = re.compile(r"Stream timeout triggered after ([\d.]+) ms")
_REFUSED = re.compile(r"\b(401 \(?Unauthorized|403 \(?Forbidden)")
_ERROR_LEVEL = 16


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
    matches = (_FFMPEG.match(line) for line in lines)
    return any(
        int(match[1]) <= _ERROR_LEVEL if match else "Corrupt JPEG" in line
        for match, line in zip(matches, lines, strict=True)
    )


def cause(lines: list[str]) -> str:
    """The last line that tells a person why, redacted and in one line; empty where none does."""
    for line in reversed(lines):
        timeout = _TIMEOUT.search(line)
        if timeout:
            return f"no answer within {float(timeout[1]) / 1000:.1f} s"
        match = _FFMPEG.match(line)
        if match and match[2].strip():
            return redact(match[2].strip())[:300]
    return ""


def refused(lines: list[str]) -> bool:
    """Whether the server asked for other credentials."""
    return any(_REFUSED.search(line) for line in lines)
