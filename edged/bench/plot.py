"""Throughput and latency against the number of cameras, as a picture."""

from __future__ import annotations

from pathlib import Path

from edged.bench.figures import median
from edged.bench.rounds import Measured
from edged.core.errors import UsageError


def require_matplotlib() -> None:
    """Raise UsageError where matplotlib is missing; called before minutes of measuring."""
    try:
        import matplotlib as _  # noqa: F401, ICN001, PLC0415 - needed for a plot only
    except ImportError as exc:
        raise UsageError("--plot needs matplotlib", remedy="pip install matplotlib") from exc


def plot_sweep(measured: Measured, *, title: str, file: Path) -> None:
    """Write a PNG of the sweep's medians.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - see require_matplotlib

    counts = sorted(measured.sweep)
    points = [measured.sweep[count] for count in counts]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    rate, latency = figure.subplots(1, 2)
    rate.plot(counts, [median([p.fast.frames_per_s for p in rounds]) for rounds in points], marker="o")
    rate.set(title="cameras as fast as taken", xlabel="cameras", ylabel="frames a second, all cameras", ylim=(0, None))
    for key in ("p50", "p99"):
        values = [median([getattr(p.realtime.latency_ms, key) for p in rounds]) for rounds in points]
        latency.plot(counts, values, marker="o", label=key)
    latency.set(title="cameras in real time", xlabel="cameras", ylabel="capture to subscriber, ms", ylim=(0, None))
    latency.legend()
    for axes in (rate, latency):
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(title)
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as exc:
        raise UsageError(f"{file} cannot be written: {exc}") from exc
