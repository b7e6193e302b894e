"""Users' ONNX exports: cut, anchors recovered, the same numbers; and everything that is no YOLOv5."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edged.core.decode import head_names
from edged.core.errors import DataError, EdgedError, UsageError
from provisioning.cut.heads import CutModel, cut_at_heads
from provisioning.export import with_batch
from provisioning.model.description import COCO_ANCHORS, Release
from provisioning.model.network import Yolov5, build
from tests.provisioning.networks import few_layers, lively, onnx_of, short
from tests.provisioning.yolo_exports import FourHeads, Raw, WithDecode, exported

NAMES = ("cat", "dog")
METADATA = "{0: 'cat', 1: 'dog'}"


def _require_same(cut: CutModel, net: Yolov5 | FourHeads, batch: int = 2) -> None:
    """The cut model computes what the network does, on pictures that the import did not use."""
    images = torch.rand(batch, 3, cut.input_wh[1], cut.input_wh[0])
    session = ort.InferenceSession(cut.onnx, providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_outputs()] == list(head_names(len(cut.strides)))
    with torch.no_grad():
        expected = net.sigmoid_maps(images)
    for got, wanted in zip(session.run(None, {"images": images.numpy()}), expected, strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=2e-4)


@pytest.mark.parametrize(
    ("release", "opset", "dynamic", "descending"),
    [("6", 12, False, False), ("5", 12, False, True), ("6", 17, True, False), ("5", 17, True, False)],
)
def test_cut_decode_inside(release: Release, opset: int, *, dynamic: bool, descending: bool) -> None:
    net = lively(release=release)
    content = exported(WithDecode(net, descending=descending), dynamic=dynamic, opset=opset, names=METADATA)
    cut = cut_at_heads(content, input_wh=(96, 64))
    assert (cut.names, cut.strides, cut.input_wh) == (NAMES, (8, 16, 32), (96, 64))
    np.testing.assert_allclose(np.array(cut.anchors), COCO_ANCHORS, rtol=2e-4)
    _require_same(cut, net)
    kinds = {node.op_type for node in onnx.load_model_from_string(cut.onnx).graph.node}
    assert not kinds & {"Shape", "Gather", "Reshape", "Transpose", "Pow", "BatchNormalization"}


def test_cut_recovers_anchors_of_its_own() -> None:
    anchors = (((5.5, 7.25), (9.0, 21.0)), ((40.0, 40.0), (99.0, 45.0)), ((160.0, 310.0), (300.0, 300.0)))
    with few_layers():
        net = build("n", classes=2, anchors=anchors)
    cut = cut_at_heads(exported(WithDecode(net)), names=NAMES)
    np.testing.assert_allclose(np.array(cut.anchors), np.array(anchors), rtol=2e-4)


def test_cut_raw_heads_with_given_anchors() -> None:
    content = exported(Raw(short()), names=METADATA)
    with pytest.raises(UsageError, match="--anchors with 18 numbers"):
        cut_at_heads(content)
    with pytest.raises(UsageError, match="4 anchor numbers, expected 18"):
        cut_at_heads(content, anchors=[1, 2, 3, 4])
    flat = [side for head in COCO_ANCHORS for anchor in head for side in anchor]
    cut = cut_at_heads(content, anchors=flat)
    assert cut.anchors == COCO_ANCHORS
    _require_same(cut, short())


def test_cut_our_own_export_changes_nothing() -> None:
    content = onnx_of(short(), input_wh=(96, 64), names=NAMES)
    cut = cut_at_heads(content)
    assert (cut.names, cut.anchors, cut.strides, cut.input_wh) == (NAMES, COCO_ANCHORS, (8, 16, 32), (96, 64))
    _require_same(cut, short())


@pytest.mark.parametrize("opset", [12, 17])
def test_cut_of_a_p6_model_has_four_heads(opset: int) -> None:
    net = FourHeads(classes=2)
    cut = cut_at_heads(exported(WithDecode(net), input_wh=(192, 128), opset=opset, names=METADATA))
    assert (cut.strides, cut.input_wh) == ((8, 16, 32, 64), (192, 128))
    np.testing.assert_allclose(np.array(cut.anchors), net.anchors.numpy(), rtol=2e-4)
    _require_same(cut, net)


def test_cut_frees_a_fixed_batch() -> None:
    content = with_batch(onnx_of(short(), input_wh=(96, 64), names=NAMES), 4)
    _require_same(cut_at_heads(content), short(), batch=3)


def test_cut_weights_of_a_branch() -> None:
    """What only the graphs inside a node read is needed, too."""
    _require_same(cut_at_heads(_edited(lambda model: _in_a_branch(model, None))), short())


def test_cut_same_file_same_bytes() -> None:
    content = exported(WithDecode(short()), names=METADATA)
    assert cut_at_heads(content).onnx == cut_at_heads(content).onnx


def test_cut_needs_names() -> None:
    content = exported(WithDecode(short()))
    with pytest.raises(UsageError, match="--names FILE with one a line: 2 names"):
        cut_at_heads(content)
    with pytest.raises(DataError, match="3 class names do not fit heads of 21 channels, its output is made for 2"):
        cut_at_heads(content, names=("a", "b", "c"))


def test_cut_refuses_another_size_than_exported() -> None:
    content = exported(WithDecode(short()), names=METADATA)
    with pytest.raises(UsageError, match="exported for 96x64, not for 640x640"):
        cut_at_heads(content, input_wh=(640, 640))


def test_cut_refuses_another_decode() -> None:
    content = exported(WithDecode(short(), exponential=True), names=METADATA)
    with pytest.raises(DataError, match="its decode is not YOLOv5's: at stride 8 its anchors differ"):
        cut_at_heads(content)


def test_cut_refuses_a_result_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(model: onnx.ModelProto) -> onnx.ModelProto:
        weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
        return model

    monkeypatch.setattr("onnxslim.slim", spoiled)
    with pytest.raises(EdgedError, match="differs by"):
        cut_at_heads(exported(WithDecode(short()), names=METADATA))


class _Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.linear = nn.Linear(8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear(self.conv(images).mean((2, 3)))
        return scores


def _edited(edit: Callable[[onnx.ModelProto], object]) -> bytes:
    model = onnx.load_model_from_string(onnx_of(short(), input_wh=(96, 64), names=NAMES))
    edit(model)
    content: bytes = model.SerializeToString()
    return content


def _outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(_moved_outside(tensor, "../../etc/passwd"))


def _moved_outside(tensor: TensorProto, file: str) -> TensorProto:
    """A weight whose numbers lie in `file`, wherever the reader is started."""
    twin = TensorProto()
    twin.CopyFrom(tensor)
    twin.ClearField("raw_data")
    twin.data_location = TensorProto.EXTERNAL
    twin.external_data.add(key="location", value=file)
    return twin


def _constant_outside(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[2]
    model.graph.node.insert(0, helper.make_node("Constant", [], [weight.name], value=_moved_outside(weight, "secret")))
    model.graph.initializer.remove(weight)


def _in_a_branch(model: onnx.ModelProto, inner: TensorProto | None) -> None:
    """A weight by way of an `If`: the one inside its branches, or else the graph's own."""
    weight = model.graph.initializer[2]
    given, weight.name = weight.name, "kept"
    branches = {
        name: helper.make_graph(
            [helper.make_node("Identity", ["kept" if inner is None else inner.name], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(weight.dims))],
            initializer=[] if inner is None else [inner],
        )
        for name in ("then_branch", "else_branch")
    }
    model.graph.initializer.append(helper.make_tensor("always", TensorProto.BOOL, [], [True]))
    model.graph.node.insert(0, helper.make_node("If", ["always"], [given], **branches))


def _branch_outside(model: onnx.ModelProto) -> None:
    _in_a_branch(model, _moved_outside(model.graph.initializer[2], "secret"))


def _function_outside(model: onnx.ModelProto) -> None:
    outside = helper.make_node("Constant", [], ["y"], value=_moved_outside(model.graph.initializer[2], "secret"))
    opset = helper.make_opsetid("", 17)
    model.functions.append(helper.make_function("ai.onnx", "Sigmoid", ["x"], ["y"], [outside], [opset]))


def _sparse(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[2]
    numbers = numpy_helper.to_array(weight).ravel()
    places = numpy_helper.from_array(np.arange(numbers.size), "places")
    values = numpy_helper.from_array(numbers, weight.name)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, list(weight.dims)))
    model.graph.initializer.remove(weight)


def _cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.node[5].output[0]


def _bytes_as_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def _plugin(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("EfficientNMS_TRT", ["p3"], ["boxes"], "nms", domain="trt"))


def _unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[3].op_type = "Frobnicate"


def _opset_99(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def _two_heads(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(lambda: b"", "0 bytes", id="empty"),
        pytest.param(lambda: b"<html>", "no ONNX file", id="html"),
        pytest.param(lambda: onnx_of(short(), input_wh=(96, 64), names=NAMES)[:-99], "truncated", id="truncated"),
        pytest.param(lambda: exported(_Classifier()), "but a classifier", id="classifier"),
        pytest.param(lambda: _edited(_two_heads), "come from 2 convolutions", id="two heads"),
        pytest.param(lambda: _edited(_outside), "weights outside the file", id="external data"),
        pytest.param(lambda: _edited(_constant_outside), "weights outside the file", id="external data of a node"),
        pytest.param(lambda: _edited(_branch_outside), "weights outside the file", id="external data in a branch"),
        pytest.param(lambda: _edited(_function_outside), "weights outside the file", id="external data in a function"),
        pytest.param(lambda: _edited(_sparse), "sparse tensors", id="sparse"),
        pytest.param(lambda: _edited(_cycle), "invalid ONNX", id="cycle"),
        pytest.param(lambda: _edited(_bytes_as_input), "uint8, expected float32 or float16", id="bytes"),
        pytest.param(lambda: _edited(_plugin), "nms is trt::EfficientNMS_TRT", id="plugin"),
        pytest.param(lambda: _edited(_unknown_operator), "Frobnicate", id="unknown operator"),
        pytest.param(lambda: _edited(_opset_99), "invalid ONNX|cannot load|no model that", id="opset 99"),
    ],
)
def test_cut_refuses(content: Callable[[], bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        cut_at_heads(content(), names=NAMES)
