"""Runs the assembled parts: start, serve, reload, ordered stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edged import __version__
from edged.assembly.model import LoadedModel
from edged.assembly.parts import Change, Parts, plan_change
from edged.config import Settings
from edged.core.errors import ConfigError, DetectorError, EdgedError
from edged.core.states import DeviceInfo, RefusedModel, SnapshotCounters, Statistics
from edged.daemon.reload import Reloader
from edged.daemon.signals import Signals, limit_stop
from edged.daemon.systemd import Systemd
from edged.daemon.vitals import Vitals, WallClock
from edged.health import Health
from edged.logs import set_up_logging
from edged.pipeline import Pipeline
from edged.store.meter import RateMeter
from edged.store.probation import Probation

TICK_S = 0.5
LOADING_TICK_S = 0.1
DRAIN_S = 1.0  # longest wait for frames under way; a stop takes less than five seconds in all

logger = logging.getLogger(__name__)


class Daemon:
    """Runs from start to stop.

    Args:
        parts: run and closed by this object.
        asked: signals to stop or reload.
        read_again: reads the settings for a reload; raises EdgedError where they are wrong.
        probation: of the model; begun.
    """

    def __init__(
        self, parts: Parts, *, asked: Signals, read_again: Callable[[], Settings], probation: Probation
    ) -> None:
        self._parts = parts
        self._settings = self._wanted = parts.settings
        self._asked, self._read_again, self._probation = asked, read_again, probation
        self._meter = RateMeter(parts.settings.probation.for_s)
        self._health = Health()
        self._wall_clock = WallClock()
        self._systemd = Systemd(grace_s=parts.settings.service.start_grace_s)
        self._pipeline: Pipeline | None = None

    def run(self) -> int:
        """Run until a stop signal, the end of all sources or failure; returns the exit code. A hung thread may remain.

        Raises:
            EdgedError: the model cannot be used.
        """
        try:
            self._parts.cameras.start()  # they open while the model loads
            self._systemd.loading()
            loading = self._parts.loading
            while loading.under_way and not self._asked.stop:
                self._asked.wait(LOADING_TICK_S)
            if self._asked.stop:
                return self._stop("asked to stop while starting")
            return self._serve(self._loaded())
        except BaseException:
            self._close()
            raise

    def _loaded(self) -> LoadedModel:
        try:
            return self._parts.loading.result()
        except EdgedError as exc:
            if self._probation.failed(str(exc)):  # the code on which systemd starts the daemon again
                raise DetectorError(
                    f"the model on trial failed: {exc}", remedy="the one before is active again"
                ) from exc
            raise

    def _serve(self, model: LoadedModel) -> int:
        parts, self._model = self._parts, model
        parts.pins.serve(model.detector)
        self._pipeline = pipeline = Pipeline(
            supply=parts.cameras, detector=model.detector, sink=parts.sink, health=self._health, stages=parts.stages
        )
        self._say_info()
        logger.info("%s with %s: %s", self._settings.device.id, model.bundle.manifest.name, model.backend)
        pipeline.start()
        vitals = Vitals({"the pipeline": self._health, "capture": parts.cameras.pulse, **parts.sink.pulses})
        reloader = Reloader(
            plan=self._plan,
            apply=self._apply,
            refused=self._reload_refused,
            asked=self._asked,
            systemd=self._systemd,
        )
        next_stats_s = time.monotonic() + self._settings.publish.stats_interval_s
        while not self._asked.stop and pipeline.running and pipeline.failure is None:
            self._asked.wait(TICK_S)
            if hung := vitals.hung():
                return self._give_up(hung)
            reloader.step()
            self._wall_clock.look()
            self._judge_model()
            self._systemd.alive(frames=self._health.frames, status=self._status)
            if time.monotonic() >= next_stats_s:
                next_stats_s = time.monotonic() + self._settings.publish.stats_interval_s
                parts.sink.statistics(self._statistics())
        if pipeline.failure is not None:
            return self._give_up(f"the pipeline failed: {pipeline.failure}")
        return self._stop("stopping")

    def _plan(self) -> Change:
        self._wanted = self._read_again()
        if self._probation.has_moved:
            self._probation.begin()
        return plan_change(self._wanted, running=self._settings, model=self._model)

    def _reload_refused(self, why: EdgedError) -> None:
        """Another model could not be loaded. It is its fault where nothing else is new."""
        blamed = not isinstance(why, ConfigError) or self._wanted == self._settings
        if not self._runs_what_is_judged() and blamed and self._probation.failed(str(why)):
            self._probation.begin()

    def _runs_what_is_judged(self) -> bool:
        return self._probation.is_about == self._model.bundle.directory.name

    def _judge_model(self) -> None:
        """When the time of its trial is over: go back to the model before if frames come too slowly."""
        if not self._runs_what_is_judged():
            return  # the other one is being loaded
        alive = sum(state.alive for state in self._parts.cameras.states().values())
        rate = self._meter.step(frames=self._health.frames, cameras=alive)
        if rate is not None and (why := self._probation.measured(rate)) and self._probation.failed(why):
            self._asked.reload = True

    def _apply(self, change: Change, model: LoadedModel | None) -> None:
        """Apply a checked change, and `model` where another one was loaded."""
        parts = self._parts
        if model is not None:
            self._swap(model)
        else:
            self._model.detector.thresholds = change.thresholds
        for section in change.waiting:
            logger.warning("[%s] changed: takes effect at the next restart", section)
        names = [spec.name for spec in change.specs]
        parts.sink.watch(change.watched)  # first: nothing is published about removed cameras from now on
        parts.cameras.replace(change.specs)
        if parts.analysis is not None:
            parts.analysis.configure(change.scenes)
        if self._pipeline is not None:
            self._pipeline.forget({camera.name for camera in self._settings.camera}.difference(names))
        self._settings = change.settings
        set_up_logging(change.settings.log.level)
        self._say_info()

    def _swap(self, model: LoadedModel) -> None:
        """Use another model from the next frame on."""
        manifest = model.bundle.manifest

        def on_swap() -> None:
            self._health.new_model()
            self._parts.pins.serve(model.detector)
            self._parts.sink.set_model(manifest.name, manifest.classes)
            if self._parts.analysis is not None:
                self._parts.analysis.set_model(manifest.name, manifest.classes)

        if self._pipeline is not None:
            self._pipeline.replace_detector(model.detector, on_swap=on_swap)
        self._model = model
        self._meter.restart()

    def _give_up(self, why: str) -> int:
        """A stage failed or hangs: log it, publish `offline`, and return the exit code on which systemd restarts."""
        code = DetectorError.exit_code
        limit_stop()
        logger.critical("%s", why, extra={"ERROR_CODE": code})
        self._probation.failed(why)
        self._systemd.stopping(why)
        self._parts.sink.statistics(self._statistics())
        # Cameras are not closed: their thread may be what hangs, and their processes end with this one.
        self._parts.sink.close()
        return code

    def _stop(self, why: str) -> int:
        limit_stop()
        self._systemd.stopping(why)
        drained = self._pipeline is None or self._pipeline.stop(timeout_s=DRAIN_S)
        failure = None if self._pipeline is None else self._pipeline.failure
        if failure is None:
            self._probation.ended()
        self._parts.sink.statistics(self._statistics())
        self._close()
        if failure is not None:
            logger.critical("the pipeline failed: %s", failure, extra={"ERROR_CODE": DetectorError.exit_code})
            return DetectorError.exit_code
        if not drained:
            logger.warning("an inference still runs; ending without it")
        logger.info("stopped after %d frames", self._health.frames)
        return 0

    def _close(self) -> None:
        """Publish `offline` first, then stop the cameras; safe to call twice."""
        self._parts.sink.close()
        self._parts.cameras.close()

    def _say_info(self) -> None:
        """Publish what runs on this device."""
        refused = self._probation.refused()
        self._parts.sink.info(
            DeviceInfo(
                version=__version__,
                model=self._model.bundle.manifest.name,
                backend=self._model.backend,
                cameras=tuple(camera.name for camera in self._settings.camera),
                started_at=self._health.started_at,
                refused=None if refused is None else RefusedModel(refused.name, refused.reason, refused.at),
            )
        )

    def _statistics(self) -> Statistics:
        cameras = self._parts.cameras
        return Statistics(
            self._health.progress(),
            clock_steps=self._wall_clock.steps,
            cameras=cameras.counters(),
            states=cameras.states(),
            snapshots=self._parts.analysis.snapshot_counters if self._parts.analysis else SnapshotCounters(),
        )

    def _status(self) -> str:
        states = self._parts.cameras.states().values()
        online = sum(state.alive for state in states)
        return f"{online} of {len(states)} cameras, {self._health.rate():.1f} frames/s, {self._parts.sink.summary}"
