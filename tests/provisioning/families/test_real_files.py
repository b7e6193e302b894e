"""Real files of other families, imported, give the boxes of independent decoders of the original files."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest

from edged.core.bundle import Bundle
from edged.core.decode import ListDecode
from edged.core.types import Detections, Frame, FrameMeta, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from provisioning.data.pictures import read_picture
from provisioning.families.recognised import Hints, coco_names
from provisioning.importing import export_graph
from provisioning.store import Store
from tests.provisioning.families.reference import DECODERS, kept, yolov8

CONFIDENCE, IOU = 0.3, 0.6


def detections(bundle: Bundle, pixels: Pixels, *, confidence: float) -> Detections:
    """What the daemon's detector sees in one picture."""
    detector = CpuDetector(bundle, thresholds=Thresholds(confidence=confidence, iou=IOU))
    height, width = pixels.shape[:2]
    try:
        meta = FrameMeta("gate", 0, datetime.now(timezone.utc), time.monotonic_ns(), (width, height))
        detector.submit([Frame(meta, pixels)])
        [result] = detector.collect()
    finally:
        detector.close()
    return result.detections


@pytest.mark.parametrize(
    ("file", "side", "names"),
    [
        ("yolox-nano-416", 416, coco_names()),
        ("nanodet-m-320", 320, coco_names()),
        ("rtmdet-nano-person-320", 320, ("person",)),
    ],
)
@pytest.mark.parametrize("picture", ["bus.jpg", "zidane.jpg"])
def test_a_square_picture_gives_every_printed_digit(
    test_data: Path, tmp_path: Path, file: str, side: int, names: tuple[str, ...], picture: str
) -> None:
    path, image = test_data / "models" / f"{file}.onnx", test_data / "images" / picture
    made = export_graph(path, name=file, input_wh=(side, side), names=names, hints=Hints(image=image))
    bundle = made.add_to(Store(tmp_path))
    square = cv2.resize(read_picture(image), (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    expected = kept(DECODERS[file](path, square), confidence=CONFIDENCE, iou=IOU)
    found = detections(bundle, square, confidence=CONFIDENCE)
    assert len(expected) >= 2
    assert [int(each) for each in found.class_id] == [each for each, _, _ in expected]
    for score, box, (_, wanted_score, wanted_box) in zip(found.confidence, found.xyxy, expected, strict=True):
        assert f"{score:.3f}" == f"{wanted_score:.3f}"
        np.testing.assert_allclose(box, np.clip(wanted_box, 0, side), atol=0.05)


def test_a_quantised_file_sees_what_its_float_graph_sees(test_data: Path, tmp_path: Path) -> None:
    """Dynamic quantisation rounds every activation: boxes move a little, objects stay."""
    path, image = test_data / "models" / "yolo11n-320-dynint8.AGPL.onnx", test_data / "images" / "bus.jpg"
    made = export_graph(path, name="eleven")
    assert (made.manifest.architecture, made.manifest.licence) == ("yolo11n", "AGPL-3.0")
    assert "float graph" in made.manifest.provenance["quantised"]
    square = cv2.resize(read_picture(image), (320, 320), interpolation=cv2.INTER_AREA).astype(np.uint8)
    expected = kept(yolov8(path, square), confidence=0.4, iou=IOU)
    found = detections(made.add_to(Store(tmp_path)), square, confidence=0.3)
    assert len(expected) >= 3
    for number, _, box in expected:
        same = found.xyxy[found.class_id == number]
        assert len(same) and np.abs(same - np.clip(box, 0, 320)).max(axis=1).min() < 8


def test_an_end_to_end_file_for_one_picture_takes_several(test_data: Path, tmp_path: Path) -> None:
    path, image = test_data / "models" / "yolo26n-e2e-dynint8.AGPL.onnx", test_data / "images" / "bus.jpg"
    made = export_graph(path, name="end", hints=Hints(image=image))
    assert made.manifest.decode == ListDecode("yolo26n")
    found = detections(made.add_to(Store(tmp_path)), read_picture(image), confidence=0.4)
    names = [made.manifest.classes[number] for number in found.class_id]
    assert names.count("person") >= 3 and names.count("bus") == 1


def test_a_file_without_a_batch_axis_gets_one(test_data: Path, tmp_path: Path) -> None:
    """DEIMv2 gives labels (300,), boxes (300, 4) and scores (300,), of a picture whose size is an input."""
    path, image = test_data / "models" / "deimv2-atto-320-dynint8.onnx", test_data / "images" / "bus.jpg"
    made = export_graph(path, name="one", names=coco_names(), hints=Hints(image=image))
    assert (made.manifest.decode, made.manifest.input_wh) == (ListDecode("detr"), (320, 320))
    square = cv2.resize(read_picture(image), (320, 320), interpolation=cv2.INTER_AREA).astype(np.uint8)
    blob = (square[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    sizes = np.array([[320, 320]], np.int64)
    labels, boxes, scores = session.run(["labels", "boxes", "scores"], {"images": blob, "orig_target_sizes": sizes})
    found = detections(made.add_to(Store(tmp_path)), square, confidence=0.3)
    sure = scores > 0.4
    assert sure.sum() >= 2  # quantising it cost its publisher most of its accuracy
    for number, box in zip(labels[sure], boxes[sure], strict=True):  # it rounds activations, our float graph does not
        same = found.xyxy[found.class_id == number]
        assert len(same) and np.abs(same - np.clip(box, 0, 320)).max(axis=1).min() < 8
