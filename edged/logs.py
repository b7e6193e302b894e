"""Logging to the journal or to standard error, without secrets and without floods."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections import OrderedDict

from edged.core.redact import redact

REPEAT_S = 60.0  # the same warning is written once in so many seconds
_MOST_REMEMBERED = 1000
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class OncePerMinute(logging.Filter):
    """Lets a warning or error that says the same again pass only once a minute, with the number it stands for."""

    def __init__(self, *, clock: object = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record; rewrites its text to the redacted one."""
        text = redact(record.getMessage())
        record.msg, record.args = text, None
        if record.levelno < logging.WARNING:
            return True
        now = self._clock()  # type: ignore[operator]
        written, suppressed = self._seen.pop(text, (-REPEAT_S, 0))
        passes: bool = now - written >= REPEAT_S
        self._seen[text] = (now, 0) if passes else (written, suppressed + 1)
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


def set_up_logging(level: str) -> None:
    """Log at `level` to the journal with fields under systemd, else to standard error."""
    handler = _journal_handler() if "JOURNAL_STREAM" in os.environ else _stderr_handler()
    handler.addFilter(OncePerMinute())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _journal_handler() -> logging.Handler:
    try:
        journal = importlib.import_module("systemd.journal")
    except ImportError:  # systemd-python is an extra: priorities still arrive by prefix
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_PriorityFormatter("%(name)s: %(message)s"))
        return handler
    journal_handler: logging.Handler = journal.JournalHandler(SYSLOG_IDENTIFIER="edged")
    return journal_handler


def _stderr_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    return handler
