"""Owns every stage: start, the main loop, statistics, ordered stop."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from edged import __version__
from edged.assembly import LoadedModel, camera_specs, make_publisher
from edged.capture.cameras import Cameras
from edged.capture.spec import CameraState
from edged.config import Settings
from edged.core.bundle import Bundle
from edged.core.errors import DetectorError
from edged.daemon.loading import Loading
from edged.daemon.reload import Reloader
from edged.daemon.signals import Signals, limit_stop
from edged.daemon.systemd import Systemd
from edged.daemon.vitals import Vitals, WallClock
from edged.health import Health
from edged.pinning import SlotPins
from edged.pipeline import Pipeline
from edged.publish.identity import origin

TICK_S = 0.5
LOADING_TICK_S = 0.1
DRAIN_S = 1.0  # frames under way at the end; with closing publisher and cameras this stays below five seconds

logger = logging.getLogger(__name__)


class Daemon:
    """Everything between start and stop.

    Args:
        config: where `settings` were read from, and are read again on reload.
        settings: checked.
        asked: what the operator wants.

    Raises:
        EdgedError: model, outbox or TLS files cannot be used.
    """

    def __init__(self, config: Path, settings: Settings, asked: Signals) -> None:
        self.settings = settings
        self._config, self._asked = config, asked
        self._health = Health()
        self._wall_clock = WallClock()
        self._systemd = Systemd(grace_s=settings.service.start_grace_s)
        bundle = Bundle.open(settings.model.bundle)  # before cameras start: a missing model is told at once
        speaker = origin(device=settings.device.id, model=bundle.manifest.name, classes=bundle.manifest.classes)
        specs = camera_specs(settings.camera)
        self.publisher = make_publisher(settings, speaker)
        self._pins = SlotPins()
        self.cameras = Cameras(specs, on_state=self._on_state, watcher=self._pins)
        self._loading = Loading(settings.model, settings.engine)
        self.pipeline: Pipeline | None = None

    def run(self) -> int:
        """Until asked to stop, all sources ended, or a stage failed; the exit code. A thread that hangs may be left.

        Raises:
            EdgedError: the model cannot be used.
        """
        try:
            self.cameras.start()  # they open while the model loads
            self._systemd.loading()
            while self._loading.under_way and not self._asked.stop:
                self._asked.wait(LOADING_TICK_S)
            if self._asked.stop:
                return self._stop("asked to stop while starting")
            return self._serve(self._loading.result())
        except BaseException:
            self._close()
            raise

    def _serve(self, model: LoadedModel) -> int:
        self.model = model
        self._pins.serve(model.detector)
        self.pipeline = pipeline = Pipeline(
            supply=self.cameras, detector=model.detector, publisher=self.publisher, health=self._health
        )
        self.say_info()
        logger.info("%s with %s: %s", self.settings.device.id, model.bundle.manifest.name, model.backend)
        pipeline.start()
        vitals = Vitals(
            {"the pipeline": self._health, "capture": self.cameras.pulse, "the MQTT thread": self.publisher.pulse}
        )
        reloader = Reloader(self, config=self._config, asked=self._asked, systemd=self._systemd)
        next_stats_s = time.monotonic() + self.settings.publish.stats_interval_s
        while not self._asked.stop and pipeline.running and pipeline.failure is None:
            self._asked.wait(TICK_S)
            if hung := vitals.hung():
                return self._give_up(hung)
            reloader.step()
            self._wall_clock.look()
            self._systemd.alive(frames=self._health.frames, status=self._status)
            if time.monotonic() >= next_stats_s:
                next_stats_s = time.monotonic() + self.settings.publish.stats_interval_s
                self.publisher.stats(self._stats())
        if pipeline.failure is not None:
            return self._give_up(f"the pipeline failed: {pipeline.failure}")
        return self._stop("stopping")

    def _give_up(self, why: str) -> int:
        """A stage failed or hangs: say so, say `offline`, and let a new process begin."""
        code = DetectorError.exit_code
        limit_stop()
        logger.critical("%s", why, extra={"ERROR_CODE": code})
        self._systemd.stopping(why)
        self.publisher.stats(self._stats())
        # Cameras are not closed: the thread that would do it may be what hangs, and their processes end with us.
        self.publisher.close()
        return code

    def _stop(self, why: str) -> int:
        limit_stop()
        self._systemd.stopping(why)
        drained = self.pipeline is None or self.pipeline.stop(timeout_s=DRAIN_S)
        failure = None if self.pipeline is None else self.pipeline.failure
        self.publisher.stats(self._stats())
        self._close()
        if failure is not None:
            logger.critical("the pipeline failed: %s", failure, extra={"ERROR_CODE": DetectorError.exit_code})
            return DetectorError.exit_code
        if not drained:
            logger.warning("an inference still runs; ending without it")
        logger.info("stopped after %d frames", self._health.frames)
        return 0

    def _close(self) -> None:
        """Say `offline` first, then stop the cameras; safe to call twice."""
        self.publisher.close()
        self.cameras.close()

    def _on_state(self, state: CameraState) -> None:
        self.publisher.camera_state(
            state.camera, state=state.state, reason=state.reason, since=state.since, reconnects=state.reconnects
        )

    def say_info(self) -> None:
        """Publish what runs here."""
        self.publisher.info(
            version=__version__,
            model=self.model.bundle.manifest.name,
            backend=self.model.backend,
            cameras=[camera.name for camera in self.settings.camera],
            started_at=self._health.started_at,
        )

    def swap(self, model: LoadedModel) -> None:
        """Use another model from the next frame on."""
        manifest = model.bundle.manifest

        def on_swap() -> None:
            self._health.new_model()
            self._pins.serve(model.detector)
            self.publisher.set_model(manifest.name, manifest.classes)

        if self.pipeline is not None:
            self.pipeline.replace_detector(model.detector, on_swap=on_swap)
        self.model = model

    def _stats(self) -> dict[str, object]:
        counters = self.cameras.counters()
        states = self.cameras.states()
        cameras = {
            name: {
                "state": states[name].state if name in states else "removed",
                "captured": count.captured,
                "processed": count.taken,
                "waiting": count.waiting,
                "dropped": dict(count.dropped),
                "bad_frames": count.bad_frames,
                "reconnects": count.reconnects,
            }
            for name, count in counters.items()
        }
        return {**self._health.snapshot(), "clock_steps": self._wall_clock.steps, "cameras": cameras}

    def _status(self) -> str:
        states = self.cameras.states().values()
        online = sum(state.alive for state in states)
        broker = "connected" if self.publisher.counters().connected else "not connected"
        return f"{online} of {len(states)} cameras, {self._health.rate():.1f} frames/s, broker {broker}"
