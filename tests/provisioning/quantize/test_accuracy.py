"""What INT8 costs the official yolov5n, by each method, as the labelled gate measures it."""

from __future__ import annotations

import contextlib
import logging
import resource
import time
from pathlib import Path

import onnx
import pytest

from edged.core.bundle import MODEL, MODEL_INT8, MODEL_INT8_CPU
from edged.core.types import Thresholds
from edged.cpu.detector import CpuDetector
from edged.cpu.preprocess import Preprocessor
from edged.cpu.session import open_session
from provisioning.frames.sample import sample
from provisioning.importing import export_checkpoint
from provisioning.quantize.int8 import quantize
from provisioning.quantize.placement import named
from provisioning.revision import revise
from provisioning.store import Store
from provisioning.verify.compare import Labelled, precision

logger = logging.getLogger(__name__)
WH = (640, 640)
ALLOWED_FALL = 0.010
ALLOWED_BYTES = 4 << 30


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_int8_of_the_official_weights_stays_near_float32(test_data: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    bundle = export_checkpoint(test_data / "weights" / "yolov5n.pt", name="n", input_wh=WH).add_to(store)
    frames = sample([str(test_data / "datasets/people/images/train")], tmp_path / "f", count=200, verification=0)
    spec = tmp_path / "coco128.yaml"
    pictures = test_data / "datasets/coco128/images"
    spec.write_text(f"val: {pictures}\nnames: {list(bundle.manifest.classes)!r}\n")
    labelled = Labelled.read(spec, bundle.manifest.classes)
    with contextlib.closing(CpuDetector(bundle, thresholds=Thresholds())) as detector:
        reference = precision(detector, labelled)
    assert reference.map50_95 == pytest.approx(0.3558, abs=0.004)  # SOURCES of the data state it

    # Processor time, as other programs must not decide the outcome.
    session = open_session(bundle.read(MODEL), threads=0, where="model")
    preprocess = Preprocessor(WH)
    started = time.process_time()
    for pixels in frames.pictures("calibration"):
        preprocess(pixels)
        session.run(None, {"images": preprocess.blob})
    bare_s = time.process_time() - started

    falls = {}
    model = named(onnx.load_from_string(bundle.read(MODEL)))
    for method, most in (("minmax", 2.5), ("entropy", 10.0), ("percentile", 10.0)):
        started = time.process_time()
        made = quantize(model, frames, method=method, cache=tmp_path / f"{method}.json")  # type: ignore[arg-type]
        took = (time.process_time() - started) / bare_s
        files = {MODEL_INT8: made.model.SerializeToString(), MODEL_INT8_CPU: made.cpu.SerializeToString()}
        revised = revise(store, store.open("n"), files)
        with contextlib.closing(CpuDetector(revised, thresholds=Thresholds(), file=MODEL_INT8)) as detector:
            got = precision(detector, labelled)
        falls[method] = reference.map50_95 - got.map50_95
        logger.warning("%s: %s, float32 %s; %.2f times the bare passes (%.1f s)", method, got, reference, took, bare_s)
        assert took < most
    with contextlib.closing(CpuDetector(revised, thresholds=Thresholds(), file=MODEL_INT8_CPU)) as detector:
        got = precision(detector, labelled)
    falls["cpu"] = reference.map50_95 - got.map50_95
    logger.warning("the CPU's graph: %s", got)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    logger.warning("peak memory %d MB", peak >> 20)
    assert peak < ALLOWED_BYTES
    assert min(falls.values()) <= ALLOWED_FALL
    assert falls["percentile"] <= ALLOWED_FALL  # the default
    assert falls["cpu"] <= ALLOWED_FALL
