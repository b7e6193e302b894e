"""Runs the real daemon with a real broker and measures it from outside, over a window of frames."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.bench.figures import Percentiles
from edged.bench.listener import Heard, Listener
from edged.bench.meters import TreeMemory, machine_busy_s, tree_cpu_s, tree_memory
from edged.bench.scenario import DEVICE, Scenario
from edged.core.errors import DetectorError
from edged.core.redact import redact

STOP_S = 15.0
SILENCE_S = 90.0  # a window without a frame for so long is a failure, not a slow machine
Message = dict[str, Any]

STAGES = ("preprocess", "inference", "decode", "nms")


@dataclass(frozen=True, slots=True)
class DaemonFigures:
    """Figures of one run, in its window after the warm-up.

    Attributes:
        frames: in the window.
        frames_per_s: published.
        cpu_ms: CPU milliseconds of the whole process tree per frame.
        stages_ms: by stage of the detector, wall time.
        latency_ms: from grab to subscriber.
        first_detection_s: from the start of the process to the subscriber.
        dropped: captured frames that were dropped, in the whole run.
        least_share, most_share: smallest and largest number of frames of a camera, divided by the mean.
        others_cores: cores that other processes kept busy meanwhile: noise where it is not near 0.
        memory: at the end of the window.
    """

    frames: int
    frames_per_s: float
    cpu_ms: float
    stages_ms: dict[str, Percentiles]
    latency_ms: Percentiles
    first_detection_s: float
    dropped: int
    least_share: float
    most_share: float
    others_cores: float
    memory: TreeMemory


@dataclass(slots=True)
class _Mark:
    """The start or end of the window."""

    at_s: float = 0.0
    cpu_s: float = 0.0
    busy_s: float = 0.0
    count: int = 0


class RunningDaemon:
    """`edged run` in a child process; a context manager that stops it.

    Args:
        scenario: its configuration.
        port: of the broker.
        folder: for its configuration and log.
    """

    def __init__(self, scenario: Scenario, *, port: int, folder: Path) -> None:
        self._log = folder / "edged.log"
        config = folder / "edged.toml"
        config.write_text(scenario.config(port), encoding="utf-8")
        self.began_at = time.time()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edged", "run", "--config", str(config)],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the bench, which then stops the daemon in order
                env=_environment(),
            )
        self.pid = self._process.pid

    def __enter__(self) -> RunningDaemon:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def require_alive(self) -> None:
        """Raise DetectorError with the end of its log if it has ended."""
        if self._process.poll() is not None:
            raise DetectorError(
                f"the measured daemon ended with code {self._process.returncode}: {self._said() or 'without a word'}"
            )

    def stop(self) -> None:
        """End it in order, or by force; safe to call twice."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def _said(self) -> str:
        return " ".join(redact(self._log.read_text(encoding="utf-8", errors="replace")[-15_000:])[-1500:].split())


def _environment() -> dict[str, str]:
    """This environment, but with compiled modules cached, as for an installed daemon."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def measure_daemon(
    scenario: Scenario, *, port: int, folder: Path, frames: int, warm_up: int
) -> tuple[DaemonFigures, list[Message]]:
    """Run a daemon until it has published `frames` after `warm_up` ones; returns figures and those messages.

    Raises:
        DetectorError: it ended by itself or published nothing for a long time.
    """
    begin, end = _Mark(), _Mark()
    with Listener(port, DEVICE) as listener:
        with RunningDaemon(scenario, port=port, folder=folder) as daemon:

            def note(mark: _Mark) -> None:
                mark.at_s, mark.count = time.monotonic(), listener.count
                mark.cpu_s, mark.busy_s = tree_cpu_s(daemon.pid), machine_busy_s() - time.process_time()

            _wait(listener, daemon, warm_up, lambda: note(begin))
            _wait(listener, daemon, warm_up + frames, lambda: note(end))
            memory = tree_memory(daemon.pid)
            first_s = listener.heard(0, 1)[0].at - daemon.began_at
        heard = listener.heard(begin.count, end.count)
        figures = _figures(
            heard,
            begin,
            end,
            memory=memory,
            first_s=first_s,
            dropped=_dropped(listener.stats()),
            cameras=len(scenario.cameras),
        )
        return figures, [each.message for each in heard]


def measure_idle(scenario: Scenario, *, port: int, folder: Path, settle_s: float, window_s: float) -> float:
    """Share of one core that a daemon uses while all its cameras are lost; 1 is a whole core.

    Raises:
        DetectorError: it ended by itself.
    """
    with RunningDaemon(scenario, port=port, folder=folder) as daemon:
        time.sleep(settle_s)
        daemon.require_alive()
        before_s, began_s = tree_cpu_s(daemon.pid), time.monotonic()
        time.sleep(window_s)
        daemon.require_alive()
        return (tree_cpu_s(daemon.pid) - before_s) / (time.monotonic() - began_s)


def _wait(listener: Listener, daemon: RunningDaemon, count: int, note: Callable[[], None]) -> None:
    done = listener.at_count(count, note)
    moved_s, seen = time.monotonic(), listener.count
    while not done.wait(0.2):
        daemon.require_alive()
        if listener.count != seen:
            moved_s, seen = time.monotonic(), listener.count
        if time.monotonic() - moved_s > SILENCE_S:
            raise DetectorError(f"the measured daemon published nothing for {SILENCE_S:g} s after {seen} frames")


def _figures(
    heard: Sequence[Heard],
    begin: _Mark,
    end: _Mark,
    *,
    memory: TreeMemory,
    first_s: float,
    dropped: int,
    cameras: int,
) -> DaemonFigures:
    seconds = end.at_s - begin.at_s
    shares = Counter(each.message["camera"] for each in heard)
    mean = len(heard) / cameras
    cpu_s = end.cpu_s - begin.cpu_s
    return DaemonFigures(
        frames=len(heard),
        frames_per_s=len(heard) / seconds,
        cpu_ms=cpu_s / len(heard) * 1e3,
        stages_ms={stage: Percentiles.of([each.message["timings"][stage] for each in heard]) for stage in STAGES},
        latency_ms=Percentiles.of([each.latency_ms for each in heard]),
        first_detection_s=first_s,
        dropped=dropped,
        least_share=(min(shares.values()) if len(shares) == cameras else 0) / mean,
        most_share=max(shares.values()) / mean,
        others_cores=max(0.0, (end.busy_s - begin.busy_s - cpu_s) / seconds),
        memory=memory,
    )


def _dropped(stats: dict[str, object]) -> int:
    cameras = stats.get("cameras")
    counts = cameras.values() if isinstance(cameras, dict) else ()
    return sum(sum(camera["dropped"].values()) for camera in counts)
