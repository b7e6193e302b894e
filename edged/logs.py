"""Logging to the journal or to standard error, without secrets and without floods."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable

from edged.core.records import safe_message, safe_traceback

REPEAT_S = 60.0  # the same warning is written once in this time
FIELDS = ("CAMERA", "ERROR_CODE")  # what `extra=` of a log call may add to a journal entry
_MOST_REMEMBERED = 1000
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
# Numbers that stand alone: `frame 17 failed` repeats `frame 18 failed`, but `camera 1` and `camera 2` differ.
_NUMBER = re.compile(r"(?<!camera )(?<![\w.-])\d[\d.,]*(?![\w-])")


class OncePerMinute(logging.Filter):
    """Lets a repeated warning or error pass only once a minute, with the number of repeats since.

    Lines that differ only in numbers are repeats. Also redacts the arguments of a line, and tracebacks.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record; rewrites its text to the redacted one."""
        text = safe_message(record)
        record.msg, record.args = text, None
        if record.exc_info:
            record.exc_text = safe_traceback(record)
        if record.levelno < logging.WARNING:
            return True
        cause = _NUMBER.sub("#", text)
        now = self._clock()
        written, suppressed = self._seen.pop(cause, (-REPEAT_S, 0))
        passes = now - written >= REPEAT_S
        self._seen[cause] = (now, 0) if passes else (written, suppressed + 1)
        while len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)
        if passes and suppressed:
            record.msg = f"{text} ({suppressed} times more in the last minute)"
        return passes


class _PriorityFormatter(logging.Formatter):
    """Lines with the priority prefix that journald reads from standard error (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", "\n  ")
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{text}"


class JournalHandler(logging.Handler):
    """Entries of the journal with fields to select by: `journalctl -u edged CAMERA=gate`, `ERROR_CODE=78`.

    Args:
        send: `systemd.journal.send`.
    """

    def __init__(self, send: Callable[..., object]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Write one entry."""
        fields = {name: str(getattr(record, name)) for name in FIELDS if hasattr(record, name)}
        if record.exc_text:
            fields["EXCEPTION_TEXT"] = record.exc_text
        try:
            self._send(
                record.getMessage(),
                PRIORITY=str(_PRIORITIES.get(record.levelno, 6)),
                SYSLOG_IDENTIFIER="edged",
                LOGGER=record.name,
                THREAD_NAME=record.threadName or "",
                **fields,
            )
        except OSError:  # the journal is away for a moment; a lost log line is no lost data
            self.handleError(record)


_once = OncePerMinute()  # kept over a reload, which sets up logging again


def set_up_logging(level: str) -> None:
    """Log at `level` (`debug`, `info`, ...): to the journal with fields under systemd, else to standard error."""
    logging.raiseExceptions = False  # a log that cannot be written is not worth a traceback
    handler = _journal_handler() if logs_to_journal() else _stderr_handler()
    handler.addFilter(_once)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def logs_to_journal() -> bool:
    """Whether standard error is the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        stream = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def _journal_handler() -> logging.Handler:
    try:
        return JournalHandler(importlib.import_module("systemd.journal").send)
    except ImportError:  # systemd-python is an extra: without it journald takes priorities from prefixes
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_PriorityFormatter("%(name)s: %(message)s"))
        return handler


def _stderr_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    return handler
