"""Starts the daemon as a process: signals, configuration, logging, single instance."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from edged.assembly.parts import assemble
from edged.config import Settings, load_settings
from edged.core.bundle import Bundle
from edged.core.errors import EdgedError
from edged.core.options import shared
from edged.core.redact import redact
from edged.daemon.daemon import Daemon
from edged.daemon.signals import Signals
from edged.health import notify_systemd
from edged.instance import only_instance
from edged.logs import logs_to_journal, set_up_logging
from edged.store.options import ProbationOptions
from edged.store.probation import Probation

logger = logging.getLogger(__name__)


def run_daemon(config: Path) -> int:
    """Capture, detect and publish until SIGTERM or SIGINT, then end the process. Returns only if it cannot start.

    Raises:
        EdgedError: it cannot start. Logged instead, and the exit code returned, where logs go to the journal.
    """
    set_up_logging("info")
    with Signals() as asked:
        try:
            settings = load_settings(config)
            set_up_logging(settings.log.level)
            with only_instance(settings.device.id):
                probation = _begun(settings)
                parts = assemble(settings)
                code = Daemon(parts, asked=asked, read_again=lambda: load_settings(config), probation=probation).run()
                _leave(code)
        except EdgedError as exc:
            notify_systemd(f"STATUS=cannot start: {redact(str(exc)).splitlines()[0]}")
            if not logs_to_journal():
                raise
            logger.critical("%s", exc, extra={"ERROR_CODE": exc.exit_code})
            return exc.exit_code
        except MemoryError:
            _fail("no memory left")
        except Exception:
            logger.exception("a defect of edged itself; please report it")
            _fail("ended by a defect")


def _begun(settings: Settings) -> Probation:
    """The probation of the active model, which can be opened, or the device went back to the one before."""
    probation = Probation(settings.model.bundle, ProbationOptions(**shared(ProbationOptions, settings.probation)))
    probation.begin()
    try:
        Bundle.open(settings.model.bundle)
    except EdgedError as exc:
        if probation.failed(str(exc)):
            probation.begin()
    return probation


def _fail(why: str) -> NoReturn:
    notify_systemd(f"STATUS={redact(why)}")
    logger.critical("%s", why, extra={"ERROR_CODE": EdgedError.exit_code})
    _leave(EdgedError.exit_code)


def _leave(code: int) -> NoReturn:
    """End without the interpreter's shutdown, in which threads of libraries may hang or crash."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
