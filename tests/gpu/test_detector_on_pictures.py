"""The GPU detector over the real kernels against the CPU detector, on real weights and real pictures."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.types import Detections, Frame, FrameMeta, Thresholds
from edged.cpu.detector import CpuDetector
from edged.gpu.detector import GpuDetector
from tests.gpu.host_engine import HostEngine
from tests.gpu.host_gpu import HostGpu

pytest.importorskip("torch", reason="reading weights needs torch")


@pytest.fixture(scope="module")
def bundle(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from provisioning.importing import export_checkpoint
    from provisioning.store import Store

    weights = test_data / "weights" / "yolov5n.pt"
    store = Store(tmp_path_factory.mktemp("store"))
    return export_checkpoint(weights, name="yolov5n", input_wh=(640, 384)).add_to(store)


def frames(test_data: Path) -> list[Frame]:
    paths = sorted((test_data / "images").glob("*.jpg"))
    assert len(paths) >= 2
    pictures = [cv2.imread(str(path)) for path in paths]
    return [
        Frame(FrameMeta("cam", k, datetime.now(timezone.utc), 0, (one.shape[1], one.shape[0])), one.astype(np.uint8))
        for k, one in enumerate(pictures)
        if one is not None
    ]


@pytest.mark.slow
@pytest.mark.parametrize("decode", ["kernel", "plugin"])
@pytest.mark.parametrize("confidence", [0.25, 0.001])
def test_detector_equals_the_cpu_on_pictures(bundle: Bundle, test_data: Path, decode: str, confidence: float) -> None:
    thresholds = Thresholds(confidence=confidence)
    cpu = CpuDetector(bundle, thresholds=thresholds, threads=1)
    gpu = HostGpu()
    engine = HostEngine(gpu, bundle.read(MODEL), bundle.manifest, max_batch=1, in_engine=decode == "plugin")
    detector = GpuDetector(gpu, engine, bundle.manifest, thresholds=thresholds)
    found = 0
    for frame in frames(test_data):
        detector.submit([frame])
        cpu.submit([frame])
        found += require_equal(detector.collect()[0].detections, cpu.collect()[0].detections)
    assert found >= 5
    detector.close()
    cpu.close()


def require_equal(got: Detections, wanted: Detections) -> int:
    """Both runs go through ONNX Runtime with one frame a time, so that nothing but our own code may differ."""
    np.testing.assert_array_equal(got.class_id, wanted.class_id)
    np.testing.assert_allclose(got.confidence, wanted.confidence, rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.xyxy, wanted.xyxy, rtol=0, atol=1e-3)
    return len(got)
