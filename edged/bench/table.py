"""The results as a table for people and as an object for scripts."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from edged import __version__
from edged.bench.bare import BareFigures
from edged.bench.figures import Percentiles, median
from edged.bench.rounds import BenchRequest, Measured
from edged.bench.subject import STAGES, DaemonFigures
from edged.bench.targets import Row, limit_kind
from edged.cpu.processors import available_cores

QUIET_CORES = 0.1  # cores that others may use without a warning


def as_lines(request: BenchRequest, measured: Measured, targets: Sequence[Row]) -> Iterator[str]:
    """The lines of the table: medians over the rounds, then every target."""
    yield f"{request.model.name} on {available_cores()} cores, medians of {request.rounds} rounds"
    yield ""
    yield f"{'':30}{'frames/s':>10}{'CPU ms/frame':>14}{'p50 ms':>9}{'p95':>9}{'p99':>9}"
    for kind, rounds in measured.bare.items():
        name = f"limit: {kind}" if kind == limit_kind(measured) else kind
        yield _line(name, rounds, lambda each: each.run_ms)
    yield _line("together, paced as slow camera", measured.paced, lambda each: each.run_ms)
    yield _line(f"edged, {request.cameras} cameras", measured.several, lambda each: each.stages_ms["inference"])
    yield _line("edged, one slow camera", measured.lone, lambda each: each.stages_ms["inference"])
    for count, points in measured.sweep.items():
        yield _line(f"edged, {count} patterns", [p.fast for p in points], lambda each: each.stages_ms["inference"])
    yield "(milliseconds of the model alone)"
    yield ""
    yield from _stages(measured)
    yield ""
    yield f"{'target':52}{'value':>10}{'':4}{'bound':>10}   holds"
    for row in targets:
        yield _target(row)
        if row.because and not row.holds:
            yield f"  {row.because}"
    yield from _noise(measured)


def as_object(request: BenchRequest, measured: Measured, targets: Sequence[Row]) -> dict[str, Any]:
    """All figures of every round, for JSON."""
    return {
        "schema": "edged.bench/1",
        "version": __version__,
        "machine": {
            "processor": platform.machine(),
            "cores": available_cores(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "onnxruntime": ort.__version__,
        },
        "request": {**asdict(request), "model": str(request.model)},
        "limit": limit_kind(measured),
        "targets": [{**asdict(row), "holds": row.holds} for row in targets],
        "measured": asdict(measured),
    }


def _line(
    name: str,
    rounds: Sequence[BareFigures] | Sequence[DaemonFigures],
    model_ms: Callable[[Any], Percentiles],
) -> str:
    rate = median([each.frames_per_s for each in rounds])
    cpu = median([each.cpu_ms for each in rounds])
    return f"{name:30}{rate:10.1f}{cpu:14.2f}{_percentiles([model_ms(each) for each in rounds])}"


def _stages(measured: Measured) -> Iterator[str]:
    several, lone = measured.several, measured.lone
    yield f"{'edged, milliseconds':30}{'p50':>33}{'p95':>9}{'p99':>9}"
    for name, runs in (("several cameras", several), ("one slow camera", lone)):
        for stage in STAGES:
            yield f"{f'{stage}, {name}':54}{_percentiles([each.stages_ms[stage] for each in runs])}"
    yield f"{'encode':54}{_percentiles([each.encode_ms for each in measured.messages])}"
    cpu, size = median([m.cpu_ms for m in measured.messages]), median([m.bytes for m in measured.messages])
    yield f"{f'encode + publish, CPU; a message of {size:.0f} bytes':54}{cpu:9.2f}"
    yield f"{'capture to subscriber, one slow camera':54}{_percentiles([each.latency_ms for each in lone])}"
    memory = several[-1].memory
    yield (
        f"memory: {memory.peak_mb:.0f} MiB peak of the daemon, {memory.shared_fairly_mb:.0f} MiB with its cameras; "
        f"{memory.threads} threads; dropped {sum(each.dropped for each in several)} (fast) "
        f"and {sum(each.dropped for each in lone)} (slow camera)"
    )


def _percentiles(rounds: Sequence[Percentiles]) -> str:
    return "".join(f"{median([getattr(each, key) for each in rounds]):9.2f}" for key in ("p50", "p95", "p99"))


def _target(row: Row) -> str:
    bound = f"{'<=' if row.at_most else '>='} {row.target:g}"
    return f"{row.name:52}{row.value:10.2f}{row.unit:>4}{bound:>10}   {'yes' if row.holds else 'NO'}"


def _noise(measured: Measured) -> Iterator[str]:
    bare = [each.others_cores for rounds in measured.bare.values() for each in rounds]
    taken = median([*bare, *(each.others_cores for each in (*measured.several, *measured.lone))])
    if taken > QUIET_CORES:
        yield f"\nother processes kept {taken:.1f} cores busy meanwhile: trust ratios within this run, nothing else"
