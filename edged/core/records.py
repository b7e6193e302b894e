"""Log records without secrets: arguments are redacted, edged's constant text around them is not."""

from __future__ import annotations

import logging
from numbers import Number
from typing import Any

from edged.core.redact import redact

_OURS = ("edged", "provisioning")  # loggers whose messages are constants: only an argument can hold a secret
_NAMES = ("CAMERA", "STATE")  # fields of `extra=` that are never secret, even where they equal a secret
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
    """The text of a record without secrets.

    In edged's own lines only arguments are redacted: a password that is a common word must not blank it everywhere.
    """
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
    """The traceback of a record without secrets; empty where it has none."""
    return redact(_PLAIN.formatException(record.exc_info)) if record.exc_info else ""


class _Shown:
    """An argument whose text is redacted when it is formatted."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return redact(str(self._value))

    def __repr__(self) -> str:
        return redact(repr(self._value))
