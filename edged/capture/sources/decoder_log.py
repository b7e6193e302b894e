"""Collects what libraries print in a child process (OpenCV, libjpeg, drivers), apart from the daemon's log."""

from __future__ import annotations

import fcntl
import os

MAX_BYTES = 65_536


class DecoderLog:
    """Redirects standard output and error of this process to memory. Only for a camera's child process."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("edged-log", os.MFD_CLOEXEC)
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_APPEND)
        os.dup2(self._descriptor, 1)
        os.dup2(self._descriptor, 2)
        self._read = 0

    def fresh(self) -> list[str]:
        """Lines since the last call, of their first `MAX_BYTES`; costs one fstat where there are none."""
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
    """Whether libjpeg reported damage: with it OpenCV decodes JPEGs of V4L2 devices, and keeps the repaired picture."""
    return any("Corrupt JPEG" in line for line in lines)
