"""Which graph runs on the CPU: INT8 only where it was asked for, or verified on this processor and clearly faster."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edged.core.bundle import MODEL, MODEL_INT8, MODEL_INT8_CPU
from edged.core.manifest import FileRecord, Manifest
from edged.cpu.choice import choose_graph
from edged.cpu.processors import processor_name
from tests.handmade import CLASSES, DECODE

RECORD = FileRecord("0" * 64, 1)
PASSED = {
    "file": MODEL_INT8_CPU,
    "passed": True,
    "processor": processor_name(),
    "one_core_ms": {"float32": 12.0, "candidate": 7.0},
}


def manifest(report: dict[str, object], *, files: tuple[str, ...] = (MODEL, MODEL_INT8, MODEL_INT8_CPU)) -> Manifest:
    return Manifest(
        name="yard",
        architecture="handmade",
        classes=CLASSES,
        decode=DECODE,
        input_wh=(320, 320),
        licence="Apache-2.0",
        precision="int8" if MODEL_INT8 in files else "fp32",
        files=dict.fromkeys(files, RECORD),
        report=report,
    )


def test_auto_takes_int8_that_was_verified_here_and_is_faster() -> None:
    graph = choose_graph(manifest(PASSED), "auto")
    assert (graph.file, graph.precision) == (MODEL_INT8_CPU, "int8")


@pytest.mark.parametrize(
    ("report", "why"),
    [
        ({}, "did not pass a verification"),
        ({**PASSED, "passed": False}, "did not pass a verification"),
        ({**PASSED, "file": ""}, "did not pass a verification"),  # it was an engine that passed
        ({**PASSED, "file": MODEL_INT8}, "did not pass a verification"),
        ({**PASSED, "processor": "Elbrus"}, r"another processor \(Elbrus\)"),
        (
            {**PASSED, "one_core_ms": {"float32": 7.0, "candidate": 6.9}},
            r"not clearly faster here \(6\.9 against 7\.0 ms on one core\)",
        ),
        ({**PASSED, "one_core_ms": {}}, "not clearly faster"),
    ],
)
def test_auto_stays_with_float32_where_there_is_a_doubt(report: dict[str, object], why: str) -> None:
    graph = choose_graph(manifest(report), "auto")
    assert (graph.file, graph.precision) == (MODEL, "fp32")
    assert re.search(why, graph.why)


def test_auto_of_a_bundle_without_the_cpus_graph_is_float32() -> None:
    graph = choose_graph(manifest(PASSED, files=(MODEL, MODEL_INT8)), "auto")
    assert (graph.file, graph.why) == (MODEL, "the bundle holds no INT8 graph for a CPU")


def test_a_float32_bundle_needs_no_words() -> None:
    graph = choose_graph(manifest({}, files=(MODEL,)), "auto")
    assert (graph.file, graph.precision, graph.why) == (MODEL, "fp32", "")


@pytest.mark.parametrize("asked", ["fp32", "fp16"])
def test_what_was_asked_for_runs_as_float32(asked: str) -> None:
    assert choose_graph(manifest(PASSED), asked).file == MODEL


def test_int8_that_was_asked_for_runs_verified_or_not() -> None:
    assert choose_graph(manifest({}), "int8").file == MODEL_INT8_CPU
    assert choose_graph(manifest({}, files=(MODEL, MODEL_INT8)), "int8").file == MODEL_INT8


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512_vnni sse\n\nprocessor\t: 1\n",
            "AMD EPYC avx2 avx512_vnni",
        ),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd42\n", "0xd42 asimddp"),
    ],
)
def test_processor_name_tells_processors_apart_that_compute_integers_differently(
    tmp_path: Path, text: str, name: str
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert processor_name(str(tmp_path / "cpuinfo")) == name


def test_processor_name_without_procfs_is_the_machine(tmp_path: Path) -> None:
    assert processor_name(str(tmp_path / "none"))
