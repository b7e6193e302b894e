"""What steps did, in one screen for a person and as JSON for everything else. The standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.gpu.steps import Outcome

WIDTH = 160


def line_of(outcome: Outcome) -> str:
    """State, name, seconds, last line."""
    return f"{outcome.state:<8} {outcome.name:<14} {outcome.seconds:>6.1f} s  {outcome.last_line}"[:WIDTH]


def table_lines(outcome: Outcome) -> list[str]:
    """What belongs under that line: tests that failed, and the figures that a person wants to see."""
    reasons = [f"         {reason}"[:WIDTH] for reason in outcome.reasons]
    figures = outcome.figures if isinstance(outcome.figures, dict) else {}
    shown = [f"         {line}"[:WIDTH] for line in _shown(figures)]
    return [*reasons, *shown]


def _shown(figures: Mapping[str, Any]) -> Iterator[str]:
    yield from figures.get("lines", ())  # a step's own words
    if "cards" in figures:
        yield from _machine(figures)
    for model in figures.get("models", ()):
        yield from _bench(model)


def _machine(figures: Mapping[str, Any]) -> Iterator[str]:
    for card in figures["cards"] or ({"name": "nvidia-smi knows no card"},):
        yield ", ".join(f"{value}" if key == "name" else f"{key} {value}" for key, value in card.items())
    kinds = [f"{name} {figures[name] or 'none'}" for name in ("tensorrt", "tensorrt_rtx")]
    yield f"{figures['processor']}, {figures['cores']} cores, Python {figures['python']}, {', '.join(kinds)}"


def _bench(model: Mapping[str, Any]) -> Iterator[str]:
    """Of one model of `edged bench --gpu --json`."""
    name, lazy, eager = Path(model["model"]).name, model["lazy"], model["eager"]
    if lazy["failure"]:
        yield f"{name}: not measured: {lazy['failure']}"
        return
    memory = [part["values"].get("memory_mb") for part in (lazy, eager)]
    told = ["unknown" if each is None else f"{each:.0f}" for each in memory]
    yield f"{name}: {lazy['values']['backend']}; device memory {told[0]} MB with lazy loading, {told[1]} MB without"
    for one in lazy["values"]["figures"]:
        stages = ", ".join(f"{stage} {us:.0f}" for stage, us in one["stage_us"].items())
        yield (
            f"batch {one['batch']:>2}: engine {one['engine_fps']:.0f}/s, detector {one['detector_fps']:.0f}/s, "
            f"share {one['share']:.3f}, around {one['frame_us']:.0f} us a frame; us a batch: {stages}"
        )


def write_summary(outcomes: Sequence[Outcome], path: Path) -> None:
    """All outcomes, whole or not at all: the machine may go at any moment."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n", "utf-8")
    temporary.replace(path)
