"""Keeps the last errors and the last warnings of TensorRT's log, so that many of one do not push out the other."""

from __future__ import annotations

import itertools
from collections import deque
from types import ModuleType
from typing import Any

LOG_LINES = 50  # kept of errors, and as many of warnings


class BuildLog:
    """The log of one build. TensorRT wants one logger a process, so make only one."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._errors: deque[tuple[int, str]] = deque(maxlen=LOG_LINES)
        self._warnings: deque[tuple[int, str]] = deque(maxlen=LOG_LINES)
        self._attached: Any = None

    @property
    def lines(self) -> list[str]:
        """Errors and warnings in the order in which they came, e.g. `ERROR: out of memory`."""
        return [line for _, line in sorted([*self._errors, *self._warnings])]

    def add(self, severity: str, message: str) -> None:
        """Add one line.

        Args:
            severity: as TensorRT names it; only errors and warnings are kept.
            message: its text.
        """
        kept = {"INTERNAL_ERROR": self._errors, "ERROR": self._errors, "WARNING": self._warnings}.get(severity)
        if kept is not None:
            kept.append((next(self._numbers), f"{severity}: {message}"))

    def attached(self, module: ModuleType) -> Any:  # noqa: ANN401 - a class of the module given
        """A logger for TensorRT that writes into this log.

        Args:
            module: of TensorRT or of TensorRT for RTX; its `ILogger` is the base class.
        """
        base: Any = module.ILogger
        add = self.add

        class Attached(base):  # type: ignore[misc] # its base is known at run time only
            """Passes every line to the BuildLog."""

            def __init__(self) -> None:
                base.__init__(self)

            def log(self, severity: Any, msg: str) -> None:  # noqa: ANN401 - an enum of the module
                """Called by TensorRT from any thread; never raises."""
                add(severity.name, msg)

        self._attached = Attached()  # kept alive here: TensorRT holds a raw pointer only
        return self._attached
