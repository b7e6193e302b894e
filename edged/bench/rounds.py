"""Runs all measurements in turn, round by round, so that noise of the machine affects all of them alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from edged.bench.bare import BareFigures, BareRequest, measure_bare
from edged.bench.probe import MessageFigures, measure_messages
from edged.bench.scenario import BenchCamera, Scenario, copies, lost, patterns, resolved
from edged.bench.subject import DaemonFigures, Message, measure_daemon, measure_idle
from edged.core.bundle import Bundle
from edged.cpu.choice import choose_graph
from edged.cpu.processors import available_cores

TOGETHER, SIDE_BY_SIDE, PLAIN = "together", "side by side", "plain loop"
LONE_FRAMES = 60
LONE_MAX_FPS = 10.0
LONE_LOAD = 0.5  # share of the time that the model is busy with the lone camera
SWEEP_FRAMES_EACH = 16  # per camera: enough to see a share that is off by a tenth
SWEEP_FPS = 15.0
SETTLE_S, IDLE_S = 3.0, 10.0
MESSAGES = 200
WINDOW_S = 4.0  # shorter measurements scatter with the time slices of other processes
LEAST_FRAMES = 120


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What to measure.

    Attributes:
        model: bundle directory.
        source: what every camera shows.
        cameras: number of cameras in the run with several.
        frames: per measurement; 0 for as many as take WINDOW_S, at least LEAST_FRAMES.
        rounds: number of rounds.
        compare: also measure the plain loop.
        sweep: numbers of cameras, with test patterns.
        threads: cores for the model; 0 for all.
        precision: as `[engine] precision`.
    """

    model: Path
    source: str
    cameras: int
    frames: int
    rounds: int
    compare: bool
    sweep: tuple[int, ...] = ()
    threads: int = 0
    precision: str = "auto"


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One number of cameras: `fast` ones for the rate, `realtime` ones for the latency."""

    fast: DaemonFigures
    realtime: DaemonFigures


@dataclass(slots=True)
class Measured:
    """All rounds, by what was measured."""

    bare: dict[str, list[BareFigures]] = field(default_factory=dict)
    paced: list[BareFigures] = field(default_factory=list)  # `together`, at the rate of the lone camera
    several: list[DaemonFigures] = field(default_factory=list)
    lone: list[DaemonFigures] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    messages: list[MessageFigures] = field(default_factory=list)
    sweep: dict[int, list[SweepPoint]] = field(default_factory=dict)


class Rounds:
    """Measures one request round by round.

    Args:
        request: what to measure.
        bundle: `request.model`, opened.
        port: of a broker on the loopback.
        folder: for files of a run.
        step: called after each measurement with its name.
    """

    def __init__(
        self, request: BenchRequest, bundle: Bundle, *, port: int, folder: Path, step: Callable[[str], None]
    ) -> None:
        self._request = request
        self._bundle = bundle
        self._port = port
        self._folder = folder
        self._step = step
        self._cores = request.threads or available_cores()
        self._frames = request.frames or LEAST_FRAMES
        self.measured = Measured()

    @property
    def steps(self) -> int:
        """How often `step` will be called."""
        request = self._request
        return request.rounds * (6 + request.compare + len(request.sweep)) + 1

    def run(self) -> Measured:
        """Run all rounds."""
        for _ in range(self._request.rounds):
            self._bare_loops()
            self._several()
            self._lone()
            for count in self._request.sweep:
                self._sweep(count)
        idle = Scenario(self._request.model, lost(2), self._request.threads, self._request.precision)
        share = measure_idle(idle, port=self._port, folder=self._folder, settle_s=SETTLE_S, window_s=IDLE_S)
        self.measured.idle.append(share)
        self._step("idle")
        return self.measured

    def _bare_loops(self) -> None:
        for kind in (TOGETHER, SIDE_BY_SIDE, *((PLAIN,) if self._request.compare else ())):
            figures = measure_bare(self._bare(kind))
            self.measured.bare.setdefault(kind, []).append(figures)
            if not self._request.frames:
                self._frames = max(self._frames, ceil(WINDOW_S * figures.frames_per_s))
            self._step(kind)

    def _bare(self, kind: str, *, interval_s: float = 0.0, frames: int = 0) -> BareRequest:
        manifest = self._bundle.manifest
        return BareRequest(
            kind=kind,
            model=str(self._bundle.directory / choose_graph(manifest, self._request.precision).file),
            sources=(resolved(self._request.source),),
            frames=frames or self._frames,
            threads=self._cores,
            decode=manifest.decode,
            interval_s=interval_s,
        )

    def _several(self) -> None:
        cameras = copies(self._request.source, self._request.cameras)
        figures, messages = self._daemon(cameras, self._frames)
        self.measured.several.append(figures)
        self._step("several cameras")
        classes = self._bundle.manifest.classes
        self.measured.messages.append(measure_messages(messages[:MESSAGES], classes=classes, port=self._port))
        self._step("messages")

    def _lone(self) -> None:
        fps = min(LONE_MAX_FPS, LONE_LOAD * 1000 / self.measured.bare[TOGETHER][-1].run_ms.p50)
        frames = min(LONE_FRAMES, self._frames)
        cameras = copies(self._request.source, 1, pace="realtime", fps=round(fps, 2))
        figures, _ = self._daemon(cameras, frames)
        self.measured.lone.append(figures)
        self._step("one slow camera")
        self.measured.paced.append(measure_bare(self._bare(TOGETHER, interval_s=1 / fps, frames=frames)))
        self._step("together, paced")

    def _sweep(self, count: int) -> None:
        frames = max(self._frames, SWEEP_FRAMES_EACH * count)
        fast, _ = self._daemon(patterns(count, pace="fast", fps=SWEEP_FPS), frames)
        # In real time frames come at a fixed rate: more of them would only take longer.
        realtime, _ = self._daemon(
            patterns(count, pace="realtime", fps=SWEEP_FPS), min(frames, self._request.frames or LEAST_FRAMES)
        )
        self.measured.sweep.setdefault(count, []).append(SweepPoint(fast, realtime))
        self._step(f"{count} cameras")

    def _daemon(self, cameras: tuple[BenchCamera, ...], frames: int) -> tuple[DaemonFigures, list[Message]]:
        scenario = Scenario(self._request.model, cameras, self._request.threads, self._request.precision)
        warm_up = max(10, 5 * len(cameras))  # by then every camera has used all its slots
        return measure_daemon(scenario, port=self._port, folder=self._folder, frames=frames, warm_up=warm_up)
