"""The measurements run through the detector's real code; their values mean nothing without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.types import Thresholds
from edged.gpu import bench
from edged.gpu.detector import GpuDetector
from edged.gpu.program import STAGES
from tests.gpu.host_engine import HostEngine
from tests.gpu.host_gpu import HostGpu
from tests.handmade import write_bundle


def test_measure_has_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "WARM_UP", 1)
    monkeypatch.setattr(bench, "STREAMS", 1)
    bundle = Bundle.open(write_bundle(tmp_path / "bundle", input_wh=(64, 64)))
    gpu = HostGpu()
    engine = HostEngine(gpu, bundle.read(MODEL), bundle.manifest, max_batch=2)
    detector = GpuDetector(gpu, engine, bundle.manifest, thresholds=Thresholds())
    figures = bench.measure(detector, 2, size_wh=(96, 64), repeats=3)
    assert figures.batch == 2 and set(figures.stage_us) == set(STAGES)
    assert figures.engine_fps > 0 and figures.detector_fps > 0 and figures.frame_us > 0
    assert figures.share == pytest.approx(figures.detector_fps / figures.engine_fps)
    assert 0 < figures.outside_engine < 1
    detector.close()


def test_main_without_a_bundle_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([str(tmp_path / "nothing")]) == 78
    assert "cannot be opened" in capsys.readouterr().err


def test_main_with_a_bundle_without_an_engine_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([str(write_bundle(tmp_path / "bundle"))]) == 78
    assert "edged-provision build" in capsys.readouterr().err
