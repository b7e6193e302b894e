from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from edged.core.decode import GridDecode
from edged.core.types import Thresholds
from edged.cpu.decode import Decoder
from edged.cpu.detector import CpuDetector
from edged.demo.scene import Scene
from provisioning.evaluation.bundle_predictor import BundlePredictor
from provisioning.evaluation.measure import MeasureSettings, measure
from provisioning.evaluation.multilabel import decode_multi_label
from provisioning.evaluation.torch_predictor import TorchPredictor
from provisioning.importing import export_checkpoint
from provisioning.model.checkpoint import read_checkpoint
from provisioning.model.description import COCO_ANCHORS, STRIDES
from provisioning.model.network import Yolov5
from provisioning.model.torch_checkpoint import checkpoint_of, network_of, save_checkpoint
from provisioning.store import Store
from tests.provisioning.data.pictures import write_dataset
from tests.provisioning.networks import lively

SIDE = 96


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = lively(classes=2)
    with torch.no_grad():
        for conv in net.detect.m:
            conv.get_parameter("bias").fill_(0.0)
            conv.get_parameter("weight").mul_(1.5)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    save_checkpoint(path, checkpoint_of(net, names=("a", "b")))
    return path


@pytest.fixture
def network(weights: Path) -> Yolov5:
    return network_of(read_checkpoint(weights))


def test_torch_and_the_daemon_find_the_same(weights: Path, network: Yolov5, tmp_path: Path) -> None:
    pictures = [Scene(seed, (120 + 40 * seed, 90)).frame(1.0)[0] for seed in range(3)]
    bundle = export_checkpoint(weights, name="x", input_wh=(SIDE, SIDE), licence="").add_to(Store(tmp_path))
    in_torch = TorchPredictor(network, side=SIDE, device=torch.device("cpu"), confidence=0.4)(pictures)
    with closing(CpuDetector(bundle, thresholds=Thresholds(0.4, 0.6, 300))) as detector:
        in_daemon = BundlePredictor(detector)(pictures)
    for first, second in zip(in_torch, in_daemon, strict=True):
        assert len(first.detections) == len(second.detections) > 3
        np.testing.assert_allclose(first.detections.xyxy, second.detections.xyxy, atol=0.05)
        np.testing.assert_allclose(first.detections.confidence, second.detections.confidence, atol=1e-4)
        np.testing.assert_array_equal(first.detections.class_id, second.detections.class_id)


def test_torch_predictor_of_a_batch_equals_one_by_one(network: Yolov5) -> None:
    pictures = [Scene(seed, (100, 100)).frame(1.0)[0] for seed in range(3)]
    predict = TorchPredictor(network, side=SIDE, device=torch.device("cpu"), confidence=0.4)
    for together, alone in zip(predict(pictures), [predict([picture])[0] for picture in pictures], strict=True):
        np.testing.assert_allclose(together.detections.xyxy, alone.detections.xyxy, atol=0.02)


def test_torch_predictor_leaves_the_mode_as_it_was(network: Yolov5) -> None:
    predict = TorchPredictor(network.train(), side=SIDE, device=torch.device("cpu"))
    predict([Scene(0, (64, 64)).frame(0.0)[0]])
    assert network.training


def test_torch_predictor_reports_asked_classes_only(network: Yolov5) -> None:
    picture = Scene(0, (100, 100)).frame(1.0)[0]
    options = {"side": SIDE, "confidence": 0.3}
    both = TorchPredictor(network, device=torch.device("cpu"), **options)([picture])[0].detections  # type: ignore[arg-type]
    assert set(both.class_id.tolist()) == {0, 1}
    one = TorchPredictor(network, device=torch.device("cpu"), class_ids=frozenset({1}), **options)  # type: ignore[arg-type]
    assert set(one([picture])[0].detections.class_id.tolist()) == {1}


def test_multi_label_counts_a_box_for_every_class() -> None:
    """One head of two cells: the first passes for both classes, the second for none."""
    head = np.full((7, 1, 2), 0.5, np.float32)
    head[4, 0] = (0.8, 0.25)
    head[5:, 0, 0] = (0.9, 0.6)
    anchors = [np.array([[10.0, 20.0]], np.float32)]
    found = decode_multi_label([head], anchors=anchors, strides=[8], threshold=0.3)
    assert found.class_id.tolist() == [0, 1]
    assert found.score == pytest.approx(np.array([0.72, 0.48]))
    assert found.xyxy.tolist() == [[-1, -6, 9, 14]] * 2


def test_multi_label_of_one_class_is_the_daemons_decode() -> None:
    rng = np.random.default_rng(0)
    heads = [rng.random((18, 80 // stride, 96 // stride), dtype=np.float32) for stride in STRIDES]
    anchors = [np.array(sizes, np.float32) for sizes in COCO_ANCHORS]
    several = decode_multi_label(heads, anchors=anchors, strides=STRIDES, threshold=0.6)
    best = Decoder(GridDecode(COCO_ANCHORS, STRIDES))(heads, threshold=0.6)
    assert len(several.score) > 10
    np.testing.assert_allclose(several.xyxy, best.xyxy, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(several.score, best.score)


def test_val_measures_a_bundle(weights: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", {"val/a": "0 .5 .5 .5 .5", "val/b": "1 .5 .5 .2 .2"})
    store = Store(tmp_path / "store")
    export_checkpoint(weights, name="x", input_wh=(SIDE, 64), licence="").add_to(store)
    measured = measure(MeasureSettings(data, store.root / "x"))
    assert measured.input_wh == (SIDE, 64)
    assert measured.runtime == "model.onnx in the daemon's CPU detector"
    assert measured.result.evaluation.pictures == 2
    assert set(measured.result.timings) == {"preprocess", "inference", "nms"}
