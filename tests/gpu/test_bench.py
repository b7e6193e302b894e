"""The measurements run through the detector's real code; their values mean nothing without a GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edged.__main__ import main
from edged.bench.gpu import ModelParts, Part, as_lines, run_part
from edged.core.bundle import MODEL, Bundle
from edged.core.types import Thresholds
from edged.gpu.backend import OpenedDetector
from edged.gpu.bench import child, measure
from edged.gpu.detector import GpuDetector
from edged.gpu.program import STAGES
from tests.gpu.host_engine import HostEngine
from tests.gpu.host_gpu import HostGpu
from tests.handmade import write_bundle


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenedDetector:
    monkeypatch.setattr(measure, "WARM_UP", 1)
    monkeypatch.setattr(measure, "STREAMS", 1)
    bundle = Bundle.open(write_bundle(tmp_path / "bundle", input_wh=(64, 64)))
    gpu = HostGpu()
    engine = HostEngine(gpu, bundle.read(MODEL), bundle.manifest, max_batch=2)
    detector = GpuDetector(gpu, engine, bundle.manifest, thresholds=Thresholds())
    return OpenedDetector(detector, "tensorrt 10.3.0 fp16, Host GPU", {})


def test_measure_has_every_figure(opened: OpenedDetector) -> None:
    assert isinstance(opened.detector, GpuDetector)
    figures = measure.measure(opened.detector, 2, size_wh=(96, 64), repeats=3)
    assert figures.batch == 2 and set(figures.stage_us) == set(STAGES)
    assert figures.engine_fps > 0 and figures.detector_fps > 0 and figures.frame_us > 0
    assert figures.share == pytest.approx(figures.detector_fps / figures.engine_fps)
    assert 0 < figures.outside_engine < 1
    opened.detector.close()


def test_child_measures_the_batches_that_the_engine_takes_and_its_memory(
    opened: OpenedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}

    def open_detector(_bundle: Bundle, **options: object) -> OpenedDetector:
        asked.update(options)
        return opened

    free = iter([{"GPU-1": 900 << 20, "GPU-2": 50 << 20}, {"GPU-1": 700 << 20, "GPU-2": 50 << 20}])
    monkeypatch.setattr(child, "open_detector", open_detector)
    monkeypatch.setattr(child, "_free_bytes", lambda: next(free))
    request = {
        "bundle": str(tmp_path / "bundle"),
        "device": "0",
        "batches": [1, 2, 4],
        "frame_wh": [96, 64],
        "repeats": 2,
        "lazy": False,
    }
    assert child.main(json.dumps(request)) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["batch"] for one in told["figures"]] == [1, 2]
    assert told["memory_mb"] == 200
    assert asked["lazy"] is False and asked["device"] == "0"


def test_part_of_a_process_that_fails_says_why() -> None:
    good = run_part("a", [sys.executable, "-c", "import os; print('noise'); print('{\"x\": 1}')"])
    assert (good.values, good.failure, good.exit_code) == ({"x": 1}, "", 0)
    bad = run_part("b", [sys.executable, "-c", "import sys; print('no GPU', file=sys.stderr); sys.exit(70)"])
    assert (bad.values, bad.failure, bad.exit_code) == ({}, "no GPU", 70)
    killed = run_part("c", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert (killed.failure, killed.exit_code) == ("without a word", 70)


def test_part_sees_the_environment_that_it_was_given() -> None:
    code = "import json, os; print(json.dumps({'loading': os.environ['CUDA_MODULE_LOADING']}))"
    assert run_part("a", [sys.executable, "-c", code], CUDA_MODULE_LOADING="EAGER").values == {"loading": "EAGER"}


def figures(batch: int, share: float, frame_us: float) -> dict[str, object]:
    return {
        "batch": batch,
        "engine_fps": 1000.0,
        "detector_fps": 1000.0 * share,
        "share": share,
        "outside_engine": 0.04,
        "stage_us": {"preprocess": 30.0, "inference": 900.0, "nms": 20.0},
        "frame_us": frame_us,
    }


@pytest.mark.parametrize(("share", "frame_us", "holds"), [(0.96, 80.0, True), (0.94, 120.0, False)])
def test_lines_hold_the_figures_against_their_bounds(share: float, frame_us: float, *, holds: bool) -> None:
    lazy = Part(
        "fp16", {"backend": "tensorrt 10.3", "memory_mb": 194.0, "figures": [figures(8, share, frame_us)]}, "", 0
    )
    eager = Part("fp16", {"backend": "tensorrt 10.3", "memory_mb": 480.0, "figures": []}, "", 0)
    peer = Part("torch, eager", {}, "torch 2.13.0+cpu sees no CUDA device", 70)
    text = "\n".join(as_lines(ModelParts(Path("fp16"), lazy, eager, peer), (1920, 1080)))
    assert "194 MB with lazy loading, 480 MB without" in text
    assert "torch, eager: not measured: torch 2.13.0+cpu sees no CUDA device" in text
    assert text.count("DOES NOT HOLD") == (0 if holds else 2)
    assert text.count(": holds") == (2 if holds else 0)


def test_command_without_a_bundle_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--gpu", "--model", str(tmp_path / "nothing")]) == 78
    assert "cannot be opened" in capsys.readouterr().err


def test_command_with_a_bundle_without_an_engine_says_so_and_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_bundle(tmp_path / "plain")
    assert main(["bench", "--gpu", "--model", str(model), "--torch", "none.pt"]) == 78
    assert "plain: not measured: " in (out := capsys.readouterr().out)
    assert "edged-provision build" in out


def test_command_prints_one_json_object_with_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_bundle(tmp_path / "plain")
    assert main(["bench", "--gpu", "--model", str(model), "--json", "--torch", str(tmp_path / "none.pt")]) == 78
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "edged.bench-gpu/1"
    parts = told["models"][0]
    assert parts["lazy"]["exit_code"] == parts["eager"]["exit_code"] == 78
    assert parts["peer"]["failure"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["bench", "--model", "a"], id="no-source"),
        pytest.param(["bench", "--model", "a", "--model", "b", "--source", "test:"], id="two-models"),
        pytest.param(["bench", "--gpu", "--model", "a", "--frame", "big"], id="frame"),
    ],
)
def test_command_refuses_what_does_not_belong_together(words: list[str]) -> None:
    try:
        code = main(words)
    except SystemExit as exc:
        code = int(str(exc.code))
    assert code == 2
