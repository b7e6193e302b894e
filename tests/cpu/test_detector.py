"""The CPU detector on a real ONNX model: right boxes in frame pixels, whatever the batching; clear refusals."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edged.core.bundle import Bundle
from edged.core.errors import DataError, DetectorError
from edged.core.types import Frame, FrameMeta, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from tests.handmade import draw_square, edit_manifest, square_model, write_bundle


def frame_of(pixels: Pixels, sequence: int = 0) -> Frame:
    size = (pixels.shape[1], pixels.shape[0])
    return Frame(FrameMeta("gate", sequence, datetime.now(timezone.utc), time.monotonic_ns(), size), pixels)


def grey(width: int = 320, height: int = 320) -> Pixels:
    return np.full((height, width, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def detector(bundle: Bundle) -> Iterator[CpuDetector]:
    detector = CpuDetector(bundle, thresholds=Thresholds(), threads=2)
    yield detector
    detector.close()


def test_detector_finds_squares_in_frame_pixels(detector: CpuDetector) -> None:
    image = grey()
    draw_square(image, "red", 72, 56)
    draw_square(image, "blue", 168, 200)
    detector.submit([frame_of(image)])
    (result,) = detector.collect()
    found = result.detections
    order = np.argsort(found.class_id)
    np.testing.assert_allclose(found.xyxy[order], [[72, 56, 136, 120], [168, 200, 232, 264]], atol=0.5)
    assert found.class_id[order].tolist() == [0, 2]
    assert (found.confidence > 0.99).all()
    assert result.timings["detect"] >= result.timings["inference"] > 0


def test_detector_undoes_the_letterbox(detector: CpuDetector) -> None:
    image = grey(640, 400)  # halved, with 60 rows of grey above and below
    image[72:200, 80:208] = (0, 255, 0)  # in the network: (40, 96) to (104, 160), of which left is 8 (mod 16)
    detector.submit([frame_of(image)])
    found = detector.collect()[0].detections
    assert found.class_id.tolist() == [1]
    np.testing.assert_allclose(found.xyxy[0], [80, 72, 208, 200], atol=17)


def test_detector_gives_the_same_for_frames_alone_and_side_by_side(detector: CpuDetector) -> None:
    images = [grey(320, 320), grey(300, 200), grey(64, 320)]
    draw_square(images[0], "red", 72, 56)
    draw_square(images[1], "green", 40, 40)
    alone = []
    for image in images:
        detector.submit([frame_of(image)])
        alone += detector.collect()
    detector.submit([frame_of(images[0]), frame_of(images[1])])
    together = [*detector.collect(), *detector.collect()]
    detector.submit([frame_of(images[2])])
    detector.submit([frame_of(images[2])])
    together += [detector.collect()[0], detector.collect()[0]]
    for one, other in zip([*alone, alone[2]], together, strict=True):
        np.testing.assert_array_equal(one.detections.xyxy, other.detections.xyxy)
        np.testing.assert_array_equal(one.detections.confidence, other.detections.confidence)


def test_detector_returns_results_in_order_of_submission(detector: CpuDetector) -> None:
    detector.submit([frame_of(grey(), 0)])
    detector.submit([frame_of(grey(), 1)])
    assert [detector.collect()[0].meta.sequence for _ in range(2)] == [0, 1]


def test_detector_applies_classes_and_confidence_at_once(detector: CpuDetector) -> None:
    image = grey()
    draw_square(image, "red", 72, 56)
    draw_square(image, "blue", 168, 200)
    detector.thresholds = Thresholds(class_ids=frozenset({2}))
    detector.submit([frame_of(image)])
    assert detector.collect()[0].detections.class_id.tolist() == [2]
    detector.thresholds = Thresholds(confidence=0.999999)
    detector.submit([frame_of(image)])
    assert len(detector.collect()[0].detections) == 0


def test_detector_has_room_for_one_frame_more_than_cores(detector: CpuDetector) -> None:
    assert detector.room == 3
    detector.submit([frame_of(grey()), frame_of(grey())])
    assert detector.room == 1
    with pytest.raises(DetectorError, match="submit takes 1 to 1 frames now, got 2"):
        detector.submit([frame_of(grey()), frame_of(grey())])
    assert [len(detector.collect()), len(detector.collect())] == [1, 1]
    with pytest.raises(DetectorError, match="nothing is under way"):
        detector.collect()


def test_detector_reports_a_hanging_inference(bundle: Bundle) -> None:
    detector = CpuDetector(bundle, thresholds=Thresholds(), threads=1, deadline_s=0.05)
    detector._arbiter.expect(1)
    assert detector._arbiter.take()  # while another has every core no inference can run
    try:
        detector.submit([frame_of(grey())])
        with pytest.raises(DetectorError, match=r"inference hangs: no result within 0\.05 s"):
            detector.collect()
    finally:
        detector._arbiter.back()
        detector.close()


def test_detector_drops_what_it_has_not_begun_when_it_closes(bundle: Bundle) -> None:
    detector = CpuDetector(bundle, thresholds=Thresholds(), threads=1)
    detector.submit([frame_of(grey()), frame_of(grey())])
    detector.close()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("detector")] == []
    detector.close()


def test_detector_that_nobody_closes_ends_its_threads(bundle: Bundle) -> None:
    detector = CpuDetector(bundle, thresholds=Thresholds(), threads=2)
    detector.submit([frame_of(grey())])
    del detector
    gc.collect()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("detector")] == []


def test_an_interpreter_ends_in_order_while_frames_are_under_way(bundle: Bundle) -> None:
    program = (
        "import sys, pathlib, numpy as np\n"
        "from tests.cpu.test_detector import CpuDetector, Bundle, Thresholds, frame_of, grey\n"
        "detector = CpuDetector(Bundle.open(pathlib.Path(sys.argv[1])), thresholds=Thresholds())\n"
        "detector.submit([frame_of(grey())])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(bundle.directory)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def damaged_bundle(folder: Path, content: bytes, **manifest: object) -> Bundle:
    """A bundle whose hashes fit but whose model does not do what the manifest says."""
    import hashlib

    write_bundle(folder, input_wh=(64, 64))
    (folder / "model.onnx").write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(folder, files={"model.onnx": record}, **manifest)
    return Bundle.open(folder)


def with_bias(value: float) -> bytes:
    model = onnx.load_from_string(square_model((64, 64)))
    for tensor in model.graph.initializer:
        if tensor.name == "p4_b2":
            array = numpy_helper.to_array(tensor).copy()
            array[:] = value
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return bytes(model.SerializeToString())


def unknown_operator() -> bytes:
    model = onnx.load_from_string(square_model((64, 64)))
    model.graph.node[0].op_type = "Telepathy"
    return bytes(model.SerializeToString())


def future_opset() -> bytes:
    model = onnx.load_from_string(square_model((64, 64)))
    model.opset_import[0].CopyFrom(helper.make_opsetid("", 99))
    return bytes(model.SerializeToString())


def vast_intermediate() -> bytes:
    """Within the graph the picture is repeated to 49 TB."""
    model = onnx.load_from_string(square_model((64, 64)))
    graph, name = model.graph, model.graph.input[0].name
    for key, values in {"times": [1, 1, 100000, 10000], "from": [0, 0], "to": [64, 64], "axes": [2, 3]}.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), key))
    for node in graph.node:
        node.input[:] = ["small" if one == name else one for one in node.input]
    graph.node.insert(0, helper.make_node("Tile", [name, "times"], ["vast"]))
    graph.node.insert(1, helper.make_node("Slice", ["vast", "from", "to", "axes"], ["small"]))
    return bytes(model.SerializeToString())


def with_added(channel: int, value: float) -> bytes:
    """The hand-made model with `value` added to one channel of the second anchor of the middle head."""
    model = onnx.load_from_string(square_model((64, 64)))
    by_channel = np.zeros((1, 3, 8, 1, 1), np.float32)
    by_channel[0, 1, channel] = value
    model.graph.initializer.append(numpy_helper.from_array(by_channel.reshape(1, 24, 1, 1), "added"))
    next(node for node in model.graph.node if node.output[0] == "p4").output[0] = "sigmoided"
    model.graph.node.append(helper.make_node("Add", ["sigmoided", "added"], ["p4"]))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(("channel", "value"), [(0, -3.0), (3, 40.0)], ids=["x", "height"])
def test_detector_takes_boxes_beyond_a_cells_reach(tmp_path: Path, channel: int, value: float) -> None:
    """Tails of other families that were rewritten as heads: YOLOX's sizes are exp(p / 2) / 2."""
    bundle = damaged_bundle(tmp_path, with_added(channel, value))
    CpuDetector(bundle, thresholds=Thresholds(), threads=1).close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(vast_intermediate(), "not run on a grey picture: .*(more than|of size) [0-9]+", id="vast"),
        pytest.param(b"", r"\(0 bytes\) is no model that ONNX Runtime", id="empty"),
        pytest.param(square_model((64, 64))[:500], r"is no model that ONNX Runtime .* can load", id="truncated"),
        pytest.param(b"<!doctype html>", r"is no model that ONNX Runtime .* can load", id="html"),
        pytest.param(unknown_operator(), "Telepathy", id="unknown-operator"),
        pytest.param(future_opset(), "opset 99 of ai.onnx, the newest that it knows is [0-9]+", id="future-opset"),
        pytest.param(square_model((96, 64)), r"expected one float input \(batch, 3, 64, 64\), got", id="other-size"),
        pytest.param(with_bias(float("nan")), "NaN or infinity in head 1", id="nan"),
        pytest.param(with_added(0, float("inf")), "NaN or infinity in head 1", id="infinite-box"),
        pytest.param(with_added(4, 1.5), "scores outside 0..1 in head 1", id="objectness"),
        pytest.param(with_added(7, -0.5), "scores outside 0..1 in head 1", id="class"),
    ],
)
def test_detector_refuses_a_model(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        CpuDetector(damaged_bundle(tmp_path, content), thresholds=Thresholds(), threads=1)


def test_detector_refuses_a_manifest_of_another_class_count(tmp_path: Path) -> None:
    bundle = damaged_bundle(tmp_path, square_model((64, 64)), classes=["one"])
    with pytest.raises(DataError, match="for the manifest's 1 classes, got"):
        CpuDetector(bundle, thresholds=Thresholds(), threads=1)
