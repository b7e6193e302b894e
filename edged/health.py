"""Counters, latencies and memory of the daemon; notifications to systemd."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from edged.core.states import Progress
from edged.core.types import FrameResult

WINDOW = 512  # latest frames that percentiles and rates are taken over
RATE_S = 60.0  # older ones do not count for the rate
PERCENTILES = (50, 95, 99)
HANG_S = 9.0  # with the main loop's own step this ends a hung inference within ten seconds
HANG_FACTOR = 20.0  # a machine that is starved of CPU is slow, but does not hang
FIRST_FRAME_S = 40.0  # before the first result the model's speed on this machine is unknown


class Health:
    """Counts results; any thread may read while the pipeline writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: Counter[str] = Counter()
        self._objects: Counter[str] = Counter()
        self._total_ms: deque[float] = deque(maxlen=WINDOW)
        self._detect_ms: deque[float] = deque(maxlen=WINDOW)
        self._finished_s: deque[float] = deque(maxlen=WINDOW)
        self._began_s = time.monotonic()
        self.beats = 0
        self.started_at = datetime.now(timezone.utc)

    def beat(self) -> None:
        """The pipeline made progress, or found nothing to do."""
        self.beats += 1

    @property
    def allowed_s(self) -> float:
        """Seconds without a beat after which the pipeline counts as hung; depends on this model's latencies so far."""
        with self._lock:
            slowest_s = max(self._detect_ms, default=0.0) / 1000
        return max(HANG_S, HANG_FACTOR * slowest_s) if slowest_s else FIRST_FRAME_S

    def new_model(self) -> None:
        """Forget latencies: those of the model before say nothing about this one."""
        with self._lock:
            self._total_ms.clear()
            self._detect_ms.clear()

    def count(self, result: FrameResult) -> None:
        """Count one processed frame."""
        with self._lock:
            self._frames[result.meta.camera] += 1
            self._objects[result.meta.camera] += len(result.detections)
            self._total_ms.append(result.timings["total"])
            self._detect_ms.append(result.timings["detect"])
            self._finished_s.append(time.monotonic())

    @property
    def frames(self) -> int:
        """Frames processed since the start."""
        with self._lock:
            return self._frames.total()

    def rate(self) -> float:
        """Frames per second over the last minute, of at most `WINDOW` frames; 0 with fewer than two."""
        with self._lock:
            since_s = time.monotonic() - RATE_S
            recent = [moment for moment in self._finished_s if moment > since_s]
        if len(recent) < 2:  # noqa: PLR2004
            return 0.0
        return (len(recent) - 1) / max(time.monotonic() - recent[0], 1e-6)

    def progress(self) -> Progress:
        """Figures of this moment: counters since the start, latencies over the latest frames."""
        with self._lock:
            frames, objects = self._frames.total(), self._objects.total()
            total, detect = list(self._total_ms), list(self._detect_ms)
        return Progress(
            uptime_s=round(time.monotonic() - self._began_s, 1),
            frames=frames,
            objects=objects,
            fps=round(self.rate(), 2),
            latency_ms={"total": _percentiles(total), "detect": _percentiles(detect)},
            memory_mb=resident_mb(),
            peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            temperature_c=temperature_c(),
        )


def _percentiles(samples: Sequence[float]) -> Mapping[str, float | None]:
    """Linear between the two nearest ranks. Not numpy's: its first call opens files, which may not be possible then."""
    if not samples:
        return {f"p{p}": None for p in PERCENTILES}
    ranked = sorted(samples)
    found: dict[str, float | None] = {}
    for p in PERCENTILES:
        place = (len(ranked) - 1) * p / 100
        low = int(place)
        high = min(low + 1, len(ranked) - 1)
        found[f"p{p}"] = round(ranked[low] + (ranked[high] - ranked[low]) * (place - low), 3)
    return found


def resident_mb() -> float | None:
    """Resident memory of this process, MiB; None while no file can be opened."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def temperature_c(root: str = "/sys/class/thermal") -> float | None:
    """The hottest thermal zone, degrees Celsius; None where the kernel shows none."""
    hottest: float | None = None
    try:
        zones = [entry.path for entry in os.scandir(root) if entry.name.startswith("thermal_zone")]
    except OSError:
        return None
    for zone in zones:
        try:
            with open(f"{zone}/temp", encoding="ascii") as file:
                degrees = int(file.read()) / 1000
        except (OSError, ValueError):
            continue  # a zone that is switched off reads as an error
        hottest = degrees if hottest is None else max(hottest, degrees)
    return hottest


def notify_systemd(*lines: str) -> bool:
    """Send state to systemd's notification socket, e.g. `READY=1`; False where there is none (sd_notify(3)).

    The lines are sent as they are: the caller redacts foreign text.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto("\n".join(lines).encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError:  # no descriptor left, or nobody listens: the next notification may arrive
        return False
    return True
