"""Redacts what C libraries write to standard error: FFmpeg quotes the addresses that it cannot read."""

from __future__ import annotations

import array
import contextlib
import fcntl
import io
import os
import select
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

from edged.core.redact import redact

_BLOCK_BYTES = 1 << 16
_PATIENCE_S = 0.5


@contextlib.contextmanager
def redacted_stderr() -> Iterator[None]:
    """Send what is written to descriptor 2 in this context through `redact`, line by line, in order with `sys.stderr`.

    For processes that decode themselves; a camera's child keeps FFmpeg's lines in memory.
    """
    outlet = os.dup(2)
    read_end, write_end = os.pipe()
    # A library that writes while it holds the GIL must lose a line: the reader could not run.
    os.set_blocking(write_end, False)
    filtered = _Filter(read_end, outlet)
    before = sys.stderr
    os.dup2(write_end, 2)
    os.close(write_end)
    if isinstance(before, io.TextIOWrapper) and before is sys.__stderr__:  # else a test has replaced it
        sys.stderr = io.TextIOWrapper(
            _Outlet(outlet, filtered),  # unbuffered, as Python's own with write_through
            encoding=before.encoding,
            errors="backslashreplace",
            write_through=True,
        )
    filtered.start()
    try:
        yield
    finally:
        sys.stderr = before
        os.dup2(outlet, 2)
        filtered.join(_PATIENCE_S)  # a child process may still hold the write end
        if not filtered.is_alive():
            os.close(read_end)
            os.close(outlet)


class _Filter(threading.Thread):
    """Thread that copies lines from `read_end` to `outlet` without their secrets."""

    def __init__(self, read_end: int, outlet: int) -> None:
        super().__init__(name="stderr", daemon=True)
        self._read_end, self._outlet = read_end, outlet
        self._busy = threading.Lock()
        self._rest = b""

    def run(self) -> None:
        """Copy until every write end is closed."""
        more = True
        while more:
            select.select([self._read_end], [], [])
            with self._busy:
                more = self._pass_on()

    def _pass_on(self) -> bool:
        """Copy what can be read now; returns False at the end."""
        block = os.read(self._read_end, _BLOCK_BYTES)
        *lines, self._rest = (self._rest + block).split(b"\n")
        if not block and self._rest:
            lines.append(self._rest)
        for line in lines:
            with contextlib.suppress(OSError):  # nobody reads it
                os.write(self._outlet, redact(line.decode("utf-8", "replace")).encode() + b"\n")
        return bool(block)

    @property
    def _waiting(self) -> int:
        """Bytes that nobody has read yet."""
        count = array.array("i", [0])
        fcntl.ioctl(self._read_end, termios.FIONREAD, count)
        return count[0]

    def settle(self) -> None:
        """Wait until what was written so far is passed on, up to `_PATIENCE_S`."""
        until_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until_s:
            with self._busy:
                if not self._waiting:
                    return
            time.sleep(0.001)


class _Outlet(io.FileIO):
    """Python's standard error: writes after all that libraries wrote before."""

    def __init__(self, descriptor: int, filtered: _Filter) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._filtered = filtered

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - as FileIO takes it
        self._filtered.settle()
        return super().write(data)
