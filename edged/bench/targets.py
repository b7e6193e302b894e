"""The targets, mostly ratios within one run, and whether they are met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edged.bench.bare import BareFigures
from edged.bench.figures import Percentiles, median, median_ratio
from edged.bench.rounds import PLAIN, SIDE_BY_SIDE, TOGETHER, Measured
from edged.bench.subject import DaemonFigures

SMALL_SIDE = 416  # inputs up to this side have the targets of 320, larger ones those of 640


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: of the target.
        value: as measured.
        target: bound of the value.
        at_most: the bound is an upper one.
        unit: of value and bound.
        because: parts of the value; printed where the target is not met.
    """

    name: str
    value: float
    target: float
    at_most: bool = True
    unit: str = ""
    because: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target if self.at_most else self.value >= self.target


def limit_kind(measured: Measured) -> str:
    """The faster of `together` and `side by side`: the machine's limit."""
    return max((TOGETHER, SIDE_BY_SIDE), key=lambda kind: median([each.frames_per_s for each in measured.bare[kind]]))


def _around(measured: Measured) -> dict[str, float]:
    """Milliseconds per frame around the model, by stage.

    Of the lone camera's frames: in parallel the same stages also wait for cores, memory and each other.
    """
    stages = {
        stage: median([each.stages_ms[stage].p50 for each in measured.lone])
        for stage in ("preprocess", "decode", "nms")
    }
    return {**stages, "encode + publish": median([each.cpu_ms for each in measured.messages])}


def rows(measured: Measured, *, input_side: int) -> list[Row]:
    """All targets that were measured."""
    small = input_side <= SMALL_SIDE
    around = _around(measured)
    return [
        *_beside(measured.several, measured.bare[limit_kind(measured)], small=small),
        *(_beside_plain(measured.several, measured.bare[PLAIN]) if PLAIN in measured.bare else ()),
        Row(
            "preprocess + decode + NMS + encode + publish",
            sum(around.values()),
            0.8 if small else 2.0,
            unit="ms",
            because=", ".join(f"{stage} {milliseconds:.2f}" for stage, milliseconds in around.items()),
        ),
        _lone_excess(measured),
        Row("start to first detection", median([each.first_detection_s for each in measured.several]), 1.5, unit="s"),
        Row("idle, cameras lost: share of one core", 100 * median(measured.idle), 2.0, unit="%"),
        *(_of_sweep(measured) if len(measured.sweep) > 1 else ()),
    ]


def _beside(ours: list[DaemonFigures], limit: list[BareFigures], *, small: bool) -> Iterator[Row]:
    cpu = median_ratio([each.cpu_ms for each in ours], [each.cpu_ms for each in limit])
    rate = median_ratio([each.frames_per_s for each in ours], [each.frames_per_s for each in limit])
    yield Row("CPU a frame / limit", cpu, 1.10 if small else 1.05)
    yield Row("frames a second / limit", rate, 0.90 if small else 0.95, at_most=False)


def _beside_plain(ours: list[DaemonFigures], plain: list[BareFigures]) -> Iterator[Row]:
    cpu = median_ratio([each.cpu_ms for each in ours], [each.cpu_ms for each in plain])
    rate = median_ratio([each.frames_per_s for each in ours], [each.frames_per_s for each in plain])
    yield Row("CPU a frame / plain loop", cpu, 0.75)
    yield Row("frames a second / plain loop", rate, 1.5, at_most=False)


def _spread(rounds: list[Percentiles]) -> float:
    return median([each.p99 - each.p50 for each in rounds])


def _lone_excess(measured: Measured) -> Row:
    model = [each.stages_ms["inference"] for each in measured.lone]
    return Row(
        "slow camera: capture-to-broker p99 less model p50",
        median([each.latency_ms.p99 - alone.p50 for each, alone in zip(measured.lone, model, strict=True)]),
        8.0,
        unit="ms",
        because=f"the model's own p99 less its p50 is {_spread(model):.2f}; "
        f"of bare session.run, paced alike: {_spread([each.run_ms for each in measured.paced]):.2f}",
    )


def _of_sweep(measured: Measured) -> Iterator[Row]:
    fewest, most = min(measured.sweep), max(measured.sweep)
    few, many = ([point.fast for point in measured.sweep[count]] for count in (fewest, most))
    rate = median_ratio([each.frames_per_s for each in many], [each.frames_per_s for each in few])
    yield Row(f"{most} cameras: frames a second / {fewest}", rate, 0.95, at_most=False)
    fast = [point.fast for points in measured.sweep.values() for point in points]
    yield Row("least share of a camera / mean", min(each.least_share for each in fast), 0.9, at_most=False)
    yield Row("largest share of a camera / mean", max(each.most_share for each in fast), 1.1)
    added = [
        (after.memory.private_mb - before.memory.private_mb) / (most - fewest)
        for before, after in zip(few, many, strict=True)
    ]
    yield Row("private memory a camera, slots apart", median(added), 15.0, unit="MiB")
