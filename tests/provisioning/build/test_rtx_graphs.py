"""The graphs of every family and precision, built by the real TensorRT for RTX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.decode import ListDecode
from edged.core.types import Floats
from edged.gpu.tensorrt import installed
from provisioning.__main__ import main
from provisioning.build.causes import PORTABLE_CAUSES, explain
from provisioning.quantize.calibration import measure_ranges, thresholds
from provisioning.quantize.placement import named, with_qdq
from provisioning.quantize.typed import with_fp16
from provisioning.quantize.typed_list import with_fp16_inside
from tests.handmade import square_model
from tests.provisioning.build.rtx import child, require_built

pytestmark = pytest.mark.skipif("rtx" not in installed(), reason="TensorRT for RTX is not installed")


def precisions(model: onnx.ModelProto, blobs: list[Floats]) -> Mapping[str, onnx.ModelProto]:
    """A float model in the four ways in which an engine can compute it."""
    int8 = with_qdq(model, thresholds("minmax", measure_ranges(model, blobs, total=len(blobs)), {}))
    return {"fp32": model, "fp16": with_fp16(model), "int8": int8, "int8-fp16": with_fp16(int8)}


def noise(model: onnx.ModelProto) -> list[Floats]:
    height, width = (side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim[2:])
    return [np.random.default_rng(0).random((1, 3, height, width), np.float32)]


def test_every_precision_of_a_hand_made_model_builds(tmp_path: Path) -> None:
    squares = named(onnx.load_from_string(square_model((64, 64))))
    for name, model in precisions(squares, noise(squares)).items():
        onnx.save(model, str(tmp_path / f"{name}.onnx"))
    said = child("graphs", tmp_path)
    assert set(said) == {"fp32", "fp16", "int8", "int8-fp16"}
    for each in said.values():
        require_built(each)


def test_every_precision_of_yolov5n_builds(test_data: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    words = ["import", str(test_data / "weights/yolov5n.pt"), "--name", "n", "--size", "320", "--store", store]
    assert main(words) == 0
    network = named(onnx.load_from_string(Bundle.open(tmp_path / "store/n").read(MODEL)))
    for name, model in precisions(network, noise(network)).items():
        onnx.save(model, str(tmp_path / f"{name}.onnx"))
    for each in child("graphs", tmp_path).values():
        require_built(each)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        pytest.param("yolox-nano-416", ["--names", "coco"], marks=pytest.mark.slow),
        pytest.param("nanodet-m-320", ["--names", "coco"], marks=pytest.mark.slow),
        pytest.param("rtmdet-nano-person-320", ["--names", "person.txt", "--size", "320"], marks=pytest.mark.slow),
        ("yolo11n-320-dynint8.AGPL", []),
        pytest.param("yolo26n-e2e-dynint8.AGPL", [], marks=pytest.mark.slow),
        ("deimv2-atto-320-dynint8", ["--names", "coco"]),
    ],
)
def test_every_precision_of_other_families_builds(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("person.txt").write_text("person\n")
    words = ["import", str(test_data / "models" / f"{file}.onnx"), "--name", "n", "--store", "store", *options]
    assert main(words) == 0
    bundle = Bundle.open(tmp_path / "store/n")
    network = named(onnx.load_from_string(bundle.read(MODEL)))
    listed = isinstance(bundle.manifest.decode, ListDecode)
    models = {"fp32": network, "fp16": with_fp16_inside(network)} if listed else precisions(network, noise(network))
    Path("graphs").mkdir()
    for name, model in models.items():
        onnx.save(model, f"graphs/{name}.onnx")
    said = child("graphs_for_one_card", tmp_path / "graphs")
    assert said.keys() == models.keys()
    for each in said.values():
        require_built(each)


def test_attention_in_float32_on_the_oldest_cards_is_named(test_data: Path, tmp_path: Path) -> None:
    path = test_data / "models" / "yolo11n-320-dynint8.AGPL.onnx"
    assert main(["import", str(path), "--name", "n", "--store", str(tmp_path / "store")]) == 0
    (tmp_path / "fp32.onnx").write_bytes(Bundle.open(tmp_path / "store/n").read(MODEL))
    said = child("graphs", tmp_path)["fp32"]
    meaning, remedy = explain(said["log"], PORTABLE_CAUSES)
    assert "no float32 matrices on cards of compute capability 7.5" in meaning
    assert 'precision = "fp16"' in remedy
