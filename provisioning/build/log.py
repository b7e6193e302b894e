"""TensorRT's log of one build: its last errors and warnings, so that a flood of one does not push out the other."""

from __future__ import annotations

import itertools
from collections import deque
from types import ModuleType
from typing import Any

LOG_LINES = 50  # of each


class BuildLog:
    """Keeps what TensorRT says while it builds; one for each process, as TensorRT wants it."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._errors: deque[tuple[int, str]] = deque(maxlen=LOG_LINES)
        self._warnings: deque[tuple[int, str]] = deque(maxlen=LOG_LINES)
        self._attached: Any = None

    @property
    def lines(self) -> list[str]:
        """Errors and warnings, in the order in which they came."""
        return [line for _, line in sorted([*self._errors, *self._warnings])]

    def add(self, severity: str, message: str) -> None:
        """One line.

        Args:
            severity: as TensorRT names it; all but errors and warnings is left out.
            message: its text.
        """
        kept = {"INTERNAL_ERROR": self._errors, "ERROR": self._errors, "WARNING": self._warnings}.get(severity)
        if kept is not None:
            kept.append((next(self._numbers), f"{severity}: {message}"))

    def attached(self, module: ModuleType) -> Any:  # noqa: ANN401 - a class of the module given
        """A logger of that TensorRT which writes here."""
        base: Any = module.ILogger
        add = self.add

        class Attached(base):  # type: ignore[misc] # its base is known at run time only
            """Hands every line on."""

            def __init__(self) -> None:
                base.__init__(self)

            def log(self, severity: Any, msg: str) -> None:  # noqa: ANN401 - an enum of the module
                """Called by TensorRT from any thread; never raises."""
                add(severity.name, msg)

        self._attached = Attached()  # TensorRT keeps a bare pointer
        return self._attached
