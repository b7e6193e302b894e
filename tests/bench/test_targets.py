"""Which ratio is held against which bound, on figures made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from edged.bench.bare import BareFigures
from edged.bench.figures import Percentiles, median_ratio
from edged.bench.meters import TreeMemory
from edged.bench.probe import MessageFigures
from edged.bench.rounds import PLAIN, SIDE_BY_SIDE, TOGETHER, BenchRequest, Measured, SweepPoint
from edged.bench.subject import STAGES, DaemonFigures
from edged.bench.table import as_lines, as_object
from edged.bench.targets import limit_kind, rows

REQUEST = BenchRequest(model=Path("net"), source="test:", cameras=2, frames=10, rounds=2, compare=True, sweep=(1, 64))


def same(milliseconds: float) -> Percentiles:
    return Percentiles(milliseconds, milliseconds, milliseconds)


def bare(rate: float, cpu_ms: float) -> BareFigures:
    return BareFigures(rate, cpu_ms, same(1), same(20), 0.0)


def daemon(
    rate: float, cpu_ms: float, *, latency_ms: float = 30, private_mb: float = 100, shares: tuple[float, float] = (1, 1)
) -> DaemonFigures:
    stages = {stage: same(20 if stage == "inference" else 0.1) for stage in STAGES}
    memory = TreeMemory(150, private_mb + 20, private_mb, 4, 12)
    return DaemonFigures(10, rate, cpu_ms, stages, same(latency_ms), 1.0, 0, *shares, 0.0, memory)


def measured(several: Sequence[DaemonFigures], *, cores_taken: float = 0.0) -> Measured:
    figures = Measured()
    quiet = [bare(50, 32), bare(48, 32)]
    figures.bare = {
        TOGETHER: [BareFigures(each.frames_per_s, each.cpu_ms, same(1), same(20), cores_taken) for each in quiet],
        SIDE_BY_SIDE: [bare(100, 16), bare(80, 20)],
        PLAIN: [bare(30, 40), bare(24, 50)],
    }
    figures.several = list(several)
    figures.lone = [daemon(10, 20, latency_ms=27)] * 2
    figures.paced = [BareFigures(10, 20, same(1), Percentiles(20, 31, 33), 0.0)] * 2
    figures.idle = [0.01]
    figures.messages = [MessageFigures(0.2, same(0.05), 1000)] * 2
    one, many = daemon(100, 17), daemon(98, 17, private_mb=100 + 63 * 9, shares=(0.95, 1.2))
    figures.sweep = {1: [SweepPoint(one, one)] * 2, 64: [SweepPoint(many, many)] * 2}
    return figures


GOOD = (daemon(95, 16.8), daemon(76, 21))


def test_limit_is_the_faster_of_the_two() -> None:
    assert limit_kind(measured(GOOD)) == SIDE_BY_SIDE


def test_median_ratio_cancels_what_slows_a_whole_round() -> None:
    assert median_ratio([10, 1, 10], [20, 2, 20]) == 0.5


def test_rows_hold_ratios_of_the_same_round_against_their_bounds() -> None:
    table = {row.name: row for row in rows(measured(GOOD), input_side=320)}
    assert table["CPU a frame / limit"].value == pytest.approx(1.05)
    assert table["frames a second / limit"].value == pytest.approx(0.95)
    assert table["CPU a frame / plain loop"].value == pytest.approx(0.42)
    assert table["preprocess + decode + NMS + encode + publish"].value == pytest.approx(0.5)
    assert table["slow camera: capture-to-broker p99 less model p50"].value == pytest.approx(7)
    assert table["private memory a camera, slots apart"].value == pytest.approx(9)
    assert table["64 cameras: frames a second / 1"].value == pytest.approx(0.98)
    failing = [row.name for row in table.values() if not row.holds]
    assert failing == ["largest share of a camera / mean"]


@pytest.mark.parametrize(("side", "holds"), [(320, True), (640, False)])
def test_rows_are_stricter_for_a_large_input(side: int, *, holds: bool) -> None:
    cpu = rows(measured((daemon(95, 17.2), daemon(76, 21.5))), input_side=side)[0]
    assert cpu.value == pytest.approx(1.075)
    assert cpu.holds == holds


def test_table_says_every_target_and_what_others_took() -> None:
    figures = measured(GOOD, cores_taken=0.7)
    figures.several = [daemon(95, 16.8)] * 2
    targets = rows(figures, input_side=320)
    text = "\n".join(as_lines(REQUEST, figures, targets))
    for row in targets:
        assert row.name in text
    assert text.count("   NO") == 1


def test_a_slow_camera_that_is_late_is_told_beside_the_bare_model() -> None:
    figures = measured(GOOD)
    figures.lone = [daemon(10, 20, latency_ms=30)] * 2
    text = "\n".join(as_lines(REQUEST, figures, rows(figures, input_side=320)))
    assert "the model's own p99 less its p50 is 0.00; of bare session.run, paced alike: 13.00" in text


def test_object_is_json_with_every_round() -> None:
    figures = measured(GOOD)
    found = orjson.loads(
        orjson.dumps(as_object(REQUEST, figures, rows(figures, input_side=320)), option=orjson.OPT_NON_STR_KEYS)
    )
    assert found["schema"] == "edged.bench/1"
    assert [round_["frames_per_s"] for round_ in found["measured"]["several"]] == [95, 76]
    assert found["measured"]["sweep"]["64"][0]["fast"]["memory"]["slots_mb"] == 4
    assert {target["holds"] for target in found["targets"]} == {True, False}
