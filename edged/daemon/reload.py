"""Applies a new configuration while the daemon runs; an invalid one changes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edged.assembly.model import LoadedModel
from edged.assembly.parts import Change
from edged.core.errors import EdgedError
from edged.daemon.signals import Signals
from edged.daemon.systemd import Systemd

PAUSE_S = 0.5  # between two reloads: many signals cause at most two per second

logger = logging.getLogger(__name__)


class Reloader:
    """One reload at a time, in short steps: a new model is loaded in a thread of its own.

    Args:
        plan: reads the settings again and finds what changed; raises EdgedError where they are wrong.
        apply: makes the change, with another model where one was loaded.
        asked: whether a reload is wanted.
        systemd: told of begin and end.
        refused: told why, where the old configuration stays.
    """

    def __init__(
        self,
        *,
        plan: Callable[[], Change],
        apply: Callable[[Change, LoadedModel | None], None],
        asked: Signals,
        systemd: Systemd,
        refused: Callable[[EdgedError], None] = lambda _: None,
    ) -> None:
        self._plan = plan
        self._apply = apply
        self._asked = asked
        self._systemd = systemd
        self._refused = refused
        self._next_s = 0.0
        self._pending: Change | None = None

    def step(self) -> None:
        """Begin, continue or end a reload; returns quickly. Never raises."""
        try:
            if self._pending is None and self._asked.reload and time.monotonic() >= self._next_s:
                self._asked.reload = False
                self._systemd.reloading()
                self._pending = self._plan()
            if self._pending is not None:
                self._go_on(self._pending)
        except EdgedError as exc:
            extra = {"ERROR_CODE": exc.exit_code}
            logger.error("reload refused, the old configuration stays: %s", exc, extra=extra)  # noqa: TRY400 - said, not traced
            self._refused(exc)
            self._end()
        except MemoryError:
            logger.error("reload refused, the old configuration stays: no memory left")  # noqa: TRY400 - said, not traced
            self._end()
        except Exception:
            logger.exception("reload failed, the old configuration stays")
            self._end()

    def _go_on(self, change: Change) -> None:
        loading = change.loading
        if loading is not None and loading.under_way:
            return
        self._apply(change, None if loading is None else loading.result())
        logger.info("reloaded the configuration")
        self._end()

    def _end(self) -> None:
        self._pending = None
        self._next_s = time.monotonic() + PAUSE_S
        self._systemd.reloaded()
