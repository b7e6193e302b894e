"""The life of the daemon: start, signals, reload, statistics, ordered stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from edged import __version__
from edged.assembly import LoadedModel, camera_specs, load_model, make_publisher, thresholds
from edged.capture.cameras import Cameras
from edged.capture.spec import CameraState
from edged.config import Settings, load_settings
from edged.core.bundle import Bundle
from edged.core.errors import DetectorError, EdgedError
from edged.health import Health, notify_systemd
from edged.instance import only_instance
from edged.logs import set_up_logging
from edged.pipeline import Pipeline
from edged.publish.identity import origin
from edged.publish.mqtt import MqttPublisher

TICK_S = 0.5
DRAIN_S = 2.0  # frames under way at the end; with the publisher's close this stays below five seconds
STALLED_S = 40.0  # longer than the detector's own deadline: a pipeline silent for so long no longer feeds the watchdog

FIXED_SECTIONS = ("device", "mqtt", "publish")  # a session and its outbox live as long as the process

logger = logging.getLogger(__name__)


def run_daemon(config: Path) -> int:
    """Capture, detect and publish until SIGTERM or SIGINT; returns the exit code.

    Raises:
        EdgedError: it cannot start.
    """
    settings = load_settings(config)
    set_up_logging(settings.log.level)
    with only_instance(settings.device.id), _signals() as asked:
        daemon = Daemon(config, settings)
        try:
            return daemon.run(asked)
        finally:
            daemon.close()


class Signals:
    """What the operator asked for, by signal."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.stop = False
        self.reload = False

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reloads; one that comes during a reload asks for one more."""
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True
        self.wake.set()


@contextmanager
def _signals() -> Iterator[Signals]:
    asked = Signals()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, asked.handle) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Daemon:
    """Owns every stage, in the order in which they are closed again.

    Args:
        config: where `settings` were read from, and are read again on reload.
        settings: checked.

    Raises:
        EdgedError: model, outbox or TLS files cannot be used.
    """

    def __init__(self, config: Path, settings: Settings) -> None:
        self._config, self._settings = config, settings
        self._health = Health()
        self._began_s = time.monotonic()
        self._ready = False
        self._resources = ExitStack()
        bundle = Bundle.open(settings.model.bundle)  # before cameras start: a missing model is told at once
        speaker = origin(device=settings.device.id, model=bundle.manifest.name, classes=bundle.manifest.classes)
        specs = camera_specs(settings.camera)
        with ExitStack() as undo:
            self._publisher: MqttPublisher = make_publisher(settings, speaker)
            undo.callback(self._publisher.close)
            self._cameras = Cameras(specs, on_state=self._on_state)
            undo.callback(self._cameras.close)
            self._cameras.start()  # they open while the model loads
            self._model = load_model(settings.model, settings.engine)
            self._pipeline = Pipeline(
                supply=self._cameras,
                detector=self._model.detector,
                publisher=self._publisher,
                health=self._health,
            )
            self._resources = undo.pop_all()
        self._say_info()

    def run(self, asked: Signals) -> int:
        """Until asked to stop, all sources ended, or the pipeline failed; returns the exit code."""
        logger.info("%s with %s: %s", self._settings.device.id, self._model.bundle.manifest.name, self._model.backend)
        self._pipeline.start()
        next_stats = time.monotonic() + self._settings.publish.stats_interval_s
        while not asked.stop and self._pipeline.running:
            asked.wake.wait(TICK_S)
            asked.wake.clear()
            if asked.reload:
                asked.reload = False
                self._reload()
            self._tell_systemd()
            if time.monotonic() >= next_stats:
                next_stats = time.monotonic() + self._settings.publish.stats_interval_s
                self._publisher.stats(self._stats())
        return self._stop()

    def close(self) -> None:
        """Stop cameras, say `offline`, disconnect; safe to call twice."""
        self._resources.close()

    def _stop(self) -> int:
        notify_systemd("STOPPING=1", "STATUS=stopping")
        drained = self._pipeline.stop(timeout_s=DRAIN_S)
        failure = self._pipeline.failure
        if failure is not None:
            logger.critical("the pipeline failed: %s", failure)
            self._publisher.stats(self._stats())
            self.close()
            return failure.exit_code if isinstance(failure, EdgedError) else DetectorError.exit_code
        self._publisher.stats(self._stats())
        self.close()
        logger.info("stopped after %d frames", self._health.frames)
        if not drained:
            # A thread that hangs inside the model would keep the interpreter from ending.
            logger.warning("an inference still runs; ending without it")
            logging.shutdown()
            os._exit(0)
        return 0

    def _on_state(self, state: CameraState) -> None:
        self._publisher.camera_state(
            state.camera, state=state.state, reason=state.reason, since=state.since, reconnects=state.reconnects
        )

    def _say_info(self) -> None:
        self._publisher.info(
            version=__version__,
            model=self._model.bundle.manifest.name,
            backend=self._model.backend,
            cameras=[camera.name for camera in self._settings.camera],
            started_at=self._health.started_at,
        )

    def _stats(self) -> dict[str, object]:
        counters = self._cameras.counters()
        states = self._cameras.states()
        cameras = {
            name: {
                "state": states[name].state if name in states else "removed",
                "captured": count.captured,
                "processed": count.taken,
                "dropped": dict(count.dropped),
                "bad_frames": count.bad_frames,
                "reconnects": count.reconnects,
            }
            for name, count in counters.items()
        }
        return {**self._health.snapshot(), "cameras": cameras}

    def _tell_systemd(self) -> None:
        grace_over = time.monotonic() - self._began_s > self._settings.service.start_grace_s
        if not self._ready and (self._health.frames or grace_over):
            self._ready = True
            notify_systemd("READY=1")
        if self._health.silence_s() < STALLED_S:
            notify_systemd("WATCHDOG=1", f"STATUS={self._status()}")

    def _status(self) -> str:
        states = self._cameras.states().values()
        online = sum(state.alive for state in states)
        broker = "connected" if self._publisher.counters().connected else "not connected"
        return f"{online} of {len(states)} cameras, {self._health.rate():.1f} frames/s, broker {broker}"

    def _reload(self) -> None:
        """Take over what may change while running; a file that is wrong changes nothing."""
        notify_systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._apply(load_settings(self._config))
            logger.info("reloaded %s", self._config)
        except EdgedError as exc:
            logger.error("reload refused, the old configuration stays: %s", exc)  # noqa: TRY400 - the message says all
        finally:
            if self._ready:
                notify_systemd("READY=1")

    def _apply(self, new: Settings) -> None:
        specs = camera_specs(new.camera)
        bundle = Bundle.open(new.model.bundle)
        changed = bundle.directory != self._model.bundle.directory or new.engine != self._settings.engine
        model = load_model(new.model, new.engine) if changed else None
        if model is None:
            self._model.detector.thresholds = thresholds(new.model, bundle)
        for section in FIXED_SECTIONS:
            if getattr(new, section) != getattr(self._settings, section):
                logger.warning("[%s] changed: takes effect at the next restart", section)
        if model is not None:
            self._swap(model)
        names = {spec.name for spec in specs}
        self._cameras.replace(specs)
        for gone in [camera.name for camera in self._settings.camera if camera.name not in names]:
            self._publisher.remove_camera(gone)
        self._settings = new
        set_up_logging(new.log.level)
        self._say_info()

    def _swap(self, model: LoadedModel) -> None:
        manifest = model.bundle.manifest
        self._pipeline.replace_detector(
            model.detector, on_swap=lambda: self._publisher.set_model(manifest.name, manifest.classes)
        )
        self._model = model
