"""Standard error without the secrets that C libraries write to it: FFmpeg quotes the addresses that it cannot read."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator

from edged.core.redact import redact

_BLOCK_BYTES = 1 << 16


@contextlib.contextmanager
def redacted_stderr() -> Iterator[None]:
    """What is written to descriptor 2 meanwhile goes through `redact`, line by line; `sys.stderr` does not.

    For processes that decode by themselves; a camera's child keeps what is said in memory.
    """
    outlet = os.dup(2)
    read_end, write_end = os.pipe()
    # A library that writes while it keeps Python from running must lose a line rather than wait for the reader.
    os.set_blocking(write_end, False)
    reader = threading.Thread(target=_pass_on, args=(read_end, outlet), name="stderr", daemon=True)
    before = sys.stderr
    os.dup2(write_end, 2)
    os.close(write_end)
    if isinstance(before, io.TextIOWrapper) and before is sys.__stderr__:  # else it is not descriptor 2: a test's
        sys.stderr = io.TextIOWrapper(
            io.FileIO(outlet, "w", closefd=False),  # as Python's own, when unbuffered
            encoding=before.encoding,
            errors="backslashreplace",
            write_through=True,
        )
    reader.start()
    try:
        yield
    finally:
        sys.stderr = before
        os.dup2(outlet, 2)
        reader.join(1.0)  # a child of this process may still hold the end that is written to
        if not reader.is_alive():
            os.close(outlet)


def _pass_on(read_end: int, outlet: int) -> None:
    with os.fdopen(read_end, "rb") as lines:
        for line in iter(lambda: lines.readline(_BLOCK_BYTES), b""):
            with contextlib.suppress(OSError):  # nobody reads it
                os.write(outlet, redact(line.decode("utf-8", "replace")).encode())
