"""Takes over what may change while the daemon runs; a file that is wrong changes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edged.assembly import LoadedModel, camera_specs, thresholds
from edged.capture.cameras import Cameras
from edged.capture.spec import CameraSpec
from edged.config import Settings, load_settings
from edged.core.bundle import Bundle
from edged.core.errors import EdgedError
from edged.core.types import Thresholds
from edged.daemon.loading import Loading
from edged.daemon.signals import Signals
from edged.daemon.systemd import Systemd
from edged.logs import set_up_logging
from edged.publish.mqtt import MqttPublisher

FIXED_SECTIONS = ("device", "mqtt", "publish")  # a session and its outbox live as long as the process
PAUSE_S = 0.5  # between two reloads: a storm of signals is one or two of them a second

logger = logging.getLogger(__name__)


class Host(Protocol):
    """What a reload changes; the daemon."""

    settings: Settings
    model: LoadedModel
    cameras: Cameras
    publisher: MqttPublisher

    def swap(self, model: LoadedModel) -> None:
        """Use another model from the next frame on."""
        ...

    def say_info(self) -> None:
        """Publish what runs here."""
        ...


class Reloader:
    """One reload at a time, each step short: a new model is loaded beside the main loop.

    Args:
        host: what is changed.
        config: the file.
        asked: whether a reload is wanted.
        systemd: told of begin and end.
    """

    def __init__(self, host: Host, *, config: Path, asked: Signals, systemd: Systemd) -> None:
        self._host = host
        self._config = config
        self._asked = asked
        self._systemd = systemd
        self._next_s = 0.0
        self._pending: tuple[Settings, Sequence[CameraSpec], Loading] | None = None

    def step(self) -> None:
        """Begin, go on with or end a reload; returns quickly. Never raises."""
        try:
            if self._pending is not None:
                self._go_on()
            elif self._asked.reload and time.monotonic() >= self._next_s:
                self._asked.reload = False
                self._systemd.reloading()
                self._begin()
        except EdgedError as exc:
            extra = {"ERROR_CODE": exc.exit_code}
            logger.error("reload refused, the old configuration stays: %s", exc, extra=extra)  # noqa: TRY400 - said, not traced
            self._end()
        except MemoryError:
            logger.error("reload refused, the old configuration stays: no memory left")  # noqa: TRY400 - said, not traced
            self._end()
        except Exception:
            logger.exception("reload failed, the old configuration stays")
            self._end()

    def _begin(self) -> None:
        new = load_settings(self._config)
        specs = camera_specs(new.camera)
        bundle = Bundle.open(new.model.bundle)
        limits = thresholds(new.model, bundle)
        host = self._host
        if bundle.directory != host.model.bundle.directory or new.engine != host.settings.engine:
            self._pending = (new, specs, Loading(new.model, new.engine))
        else:
            self._apply(new, specs, limits)

    def _go_on(self) -> None:
        if self._pending is None or self._pending[2].under_way:
            return
        (new, specs, loading), self._pending = self._pending, None
        self._host.swap(loading.result())
        self._apply(new, specs, None)

    def _apply(self, new: Settings, specs: Sequence[CameraSpec], limits: Thresholds | None) -> None:
        """Nothing here can be refused any more."""
        host, old = self._host, self._host.settings
        if limits is not None:
            host.model.detector.thresholds = limits
        for section in FIXED_SECTIONS:
            if getattr(new, section) != getattr(old, section):
                logger.warning("[%s] changed: takes effect at the next restart", section)
        host.publisher.keep_cameras([spec.name for spec in specs])  # first: nothing is said of others from now on
        host.cameras.replace(specs)
        # Sections that stay as they were keep being compared with what runs, not with what was asked for.
        host.settings = new.model_copy(update={section: getattr(old, section) for section in FIXED_SECTIONS})
        set_up_logging(new.log.level)
        host.say_info()
        logger.info("reloaded %s", self._config)
        self._end()

    def _end(self) -> None:
        self._next_s = time.monotonic() + PAUSE_S
        self._systemd.reloaded()
