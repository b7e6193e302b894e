"""Log records without secrets: what is put into a line loses them, our own words around it stay."""

from __future__ import annotations

import logging
from numbers import Number
from typing import Any

from edged.core.redact import redact

_OURS = ("edged", "provisioning")  # whose lines are constants with places for what may be secret
_NAMES = ("CAMERA", "STATE")  # of `extra=`: a name and a word of ours, no secrets where they are spelt like one
_PLAIN = logging.Formatter()


class SafeRecord(logging.LogRecord):
    """A log record that shows no secret, whichever handler writes it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as LogRecord takes them
        super().__init__(*args, **kwargs)
        if self.exc_info:
            self.exc_text = safe_traceback(self)

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """The text without secrets."""
        return safe_message(self)


def safe_message(record: logging.LogRecord) -> str:
    """The text of a record. A password that is a common word must not take it out of every line of ours."""
    if not isinstance(record.msg, str) or record.name.partition(".")[0] not in _OURS:
        return redact(logging.LogRecord.getMessage(record))
    ours = {vars(record).get(field, record.name) for field in _NAMES}
    if not record.args:
        return record.msg
    if not isinstance(record.args, tuple):
        return redact(record.msg % record.args)
    return record.msg % tuple(
        value if isinstance(value, Number) or (isinstance(value, str) and value in ours) else _Shown(value)
        for value in record.args
    )


def safe_traceback(record: logging.LogRecord) -> str:
    """The traceback of a record; empty where it has none."""
    return redact(_PLAIN.formatException(record.exc_info)) if record.exc_info else ""


class _Shown:
    """A value as a line shows it."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return redact(str(self._value))

    def __repr__(self) -> str:
        return redact(repr(self._value))
