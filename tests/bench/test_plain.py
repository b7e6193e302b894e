"""The plain loop finds what the detector finds: a peer that does less would be no peer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edged.bench.plain import plain_frame
from edged.core.bundle import MODEL, Bundle
from edged.core.letterbox import Letterbox
from edged.core.types import Thresholds
from edged.cpu.detector import CpuDetector
from tests.fakes import make_frame
from tests.handmade import write_bundle
from tests.handmade_list import write_list_bundle


@pytest.mark.parametrize("size_wh", [(320, 320), (300, 200)], ids=["square", "wide"])
@pytest.mark.parametrize("written", [write_bundle, write_list_bundle], ids=["grid", "list"])
def test_plain_loop_finds_what_the_detector_finds(
    tmp_path: Path, size_wh: tuple[int, int], written: Callable[[Path], Path]
) -> None:
    bundle = Bundle.open(written(tmp_path / "net"))
    manifest = bundle.manifest
    frame = make_frame(size_wh=size_wh)
    image = np.full((size_wh[1], size_wh[0], 3), 114, np.uint8)
    image[40:168, 48:176] = (0, 255, 0)
    image[20:60, 200:240] = (0, 0, 255)
    session = ort.InferenceSession(str(bundle.directory / MODEL), providers=["CPUExecutionProvider"])
    theirs = plain_frame(session, manifest.decode)(image)
    detector = CpuDetector(bundle, thresholds=Thresholds(), threads=1)
    detector.submit([type(frame)(frame.meta, image)])
    ours = detector.collect()[0].detections
    detector.close()
    assert len(ours) > 0
    box = Letterbox.fit(size_wh, manifest.input_wh)
    order = np.argsort(-theirs[:, 4], kind="stable")
    np.testing.assert_allclose(theirs[order, 4], ours.confidence, rtol=1e-5)
    assert sorted(theirs[:, 5].astype(int).tolist()) == sorted(ours.class_id.tolist())
    found = {tuple(np.round(row).tolist()) for row in box.to_frame(theirs[:, :4])}
    assert found == {tuple(np.round(row).tolist()) for row in ours.xyxy}
