"""Files of other detectors, and of YOLOv5's other models: each is named for what it is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import onnx
import pytest
from onnx import helper
from torch import Tensor, nn

from edged.core.errors import DataError
from provisioning.cut.heads import cut_at_heads
from provisioning.model.checkpoint import read_checkpoint
from tests.provisioning.networks import short
from tests.provisioning.yolo_exports import Raw, exported

NAMES = ("cat", "dog")


class _Heads(nn.Module):
    """A backbone with a 1x1 convolution for each number of channels, one output each."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 8, 1)
        self.heads = nn.ModuleList(nn.Conv2d(8, count, 1) for count in channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(images).relu()
        return tuple(head(x) for head in self.heads)


def _described(**metadata: str) -> bytes:
    model = onnx.load_model_from_string(exported(Raw(short())))
    helper.set_model_props(model, metadata)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(lambda: exported(_Heads(21, 21, 21, 21, 21)), "come from 5 convolutions", id="five-heads"),
        pytest.param(lambda: exported(_Heads(117, 117, 117, 32)), "a segmentation model", id="segmentation"),
        pytest.param(lambda: exported(_Heads(64, 64, 64, 2, 2, 2)), "YOLOv8 or later", id="v8"),
        pytest.param(lambda: exported(_Heads(4, 1, 80, 4, 1, 80, 4, 1, 80)), "such as YOLOX", id="YOLOX"),
        pytest.param(lambda: exported(_Heads(21, 21)), "come from 2 convolutions", id="unknown"),
        pytest.param(
            lambda: _described(description="Ultralytics YOLOv8n-seg model trained on x", task="segment"),
            "YOLOv8n-seg of Ultralytics, which its metadata say is for segmentation",
            id="metadata",
        ),
    ],
)
def test_other_models_are_named(content: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cut_at_heads(content(), names=NAMES)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nanodet-m-320", "heads of 112 channels, but no tensor behind them has x, y, w, h"),
        ("rtmdet-nano-person-320", "anchor-free detector such as YOLOX or RTMDet"),
        ("yolox-nano-416", "anchor-free detector such as YOLOX or RTMDet"),
    ],
)
def test_real_files_of_other_detectors_are_named(test_data: Path, file: str, message: str) -> None:
    content = (test_data / "models" / f"{file}.onnx").read_bytes()
    with pytest.raises(DataError, match=message):
        cut_at_heads(content, names=NAMES)


@pytest.mark.parametrize(
    ("domain", "kind", "message"),
    [
        ("com.microsoft", "QLinearSigmoid", "com.microsoft::QLinearSigmoid, quantised for one runtime only"),
        ("", "QLinearConv", r"\(QLinearConv\) is quantised in a form that is not read"),
    ],
)
def test_a_file_quantised_in_linear_operators_is_named(domain: str, kind: str, message: str) -> None:
    model = onnx.load_model_from_string(exported(Raw(short()), opset=13))
    scale, zero = (helper.make_tensor(name, kind, [], [1]) for name, kind in (("s", 1), ("z", 2)))
    weights = helper.make_tensor("w", 2, [3, 3, 1, 1], [1] * 9)
    model.graph.initializer.extend([scale, zero, weights])
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"]),
        helper.make_node(kind, ["q", "s", "z", "w", "s", "z", "s", "z"], ["c"], domain=domain),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["real"]),
    ]
    for node in model.graph.node:
        node.input[:] = ["real" if name == "images" else name for name in node.input]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    model.opset_import.extend([helper.make_opsetid("com.microsoft", 1)] if domain else [])
    with pytest.raises(DataError, match=message + ".*; import the float export; `edged-provision quantize` makes INT8"):
        cut_at_heads(model.SerializeToString(), names=NAMES)


def test_torchscript_is_named_although_it_is_compressed(tmp_path: Path) -> None:
    path = tmp_path / "best.torchscript"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl"):
            archive.writestr(f"best/{name}", b"\x80\x02N.")
        archive.writestr("best/code/__torch__.py", "class Model:\n", zipfile.ZIP_DEFLATED)  # as torch does
    with pytest.raises(DataError, match="a TorchScript program, not a checkpoint"):
        read_checkpoint(path)
