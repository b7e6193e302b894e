"""Graphs exported for one picture take several: two in a batch give what each gives alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edged.core.errors import DataError
from provisioning.graphs.dequantised import dequantised
from provisioning.graphs.shapes import Shapes
from tests.provisioning.graphs.freed import with_free_batch
from tests.provisioning.yolo_exports import exported

Values = npt.NDArray[Any]
SIZE = (96, 64)


class _Attention(nn.Module):
    """A small detector transformer, as exporters flatten it: learnt queries, (N, B, C) inside, rows chosen by score."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 8, 1)
        self.inner = nn.MultiheadAttention(8, 2)
        self.outer = nn.MultiheadAttention(8, 4, batch_first=True)
        self.queries = nn.Parameter(torch.randn(1, 5, 8))
        self.places = torch.rand(1, 101, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(images * 3)
        x = nn.functional.interpolate(x, size=(x.shape[2] + 4, x.shape[3] - 4), mode="nearest")  # no whole factor
        batch, channels, height, width = x.shape
        rows = x.reshape(batch, channels, height * width).permute(2, 0, 1)
        rows = self.inner(rows, rows, rows, need_weights=False)[0].transpose(0, 1)
        rows = torch.cat((self.queries, rows), 1)
        rows = rows + self.outer(rows, rows, rows, need_weights=False)[0]
        best = rows.amax(-1).topk(7, 1).indices.unsqueeze(-1)
        places = self.places.gather(1, best.repeat(1, 1, 4))
        windows = rows.reshape(batch * 101, 2, 4).permute(0, 2, 1).reshape(batch, 101, 8)
        return rows.gather(1, best.expand(batch, 7, 8)), places, windows


class _Upward(nn.Module):
    """Sizes are taken from other tensors, as in the neck of most detectors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 4, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.first(images)
        up = nn.functional.interpolate(self.second(fine), size=fine.shape[2:])
        batch, channels, height, width = fine.shape
        shuffled = torch.cat((fine, up), 1).view(batch, 2, channels, height, width).transpose(1, 2)
        return shuffled.reshape(batch, 2 * channels, height, width)[:, :, : height // 2 * 2 - 1]


def _network(kind: type[nn.Module], **options: Any) -> onnx.ModelProto:
    torch.manual_seed(1)
    return onnx.load_model_from_string(exported(kind(), input_wh=SIZE, **options))


def _run(model: onnx.ModelProto, images: Values) -> list[Values]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {model.graph.input[0].name: images})]


def _require_several(original: onnx.ModelProto, freed: onnx.ModelProto, count: int = 3) -> None:
    """Several pictures give what the original gives for each alone."""
    onnx.checker.check_model(freed, full_check=True)
    images = np.random.default_rng(5).random((count, 3, SIZE[1], SIZE[0]), np.float32)
    together = _run(freed, images)
    for number, image in enumerate(images):
        for one, all_of_them in zip(_run(original, image[None]), together, strict=True):
            np.testing.assert_allclose(all_of_them[number], one[0], rtol=1e-4, atol=1e-5)


def _outputs(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.output]


@pytest.mark.parametrize(
    ("kind", "opset"), [(_Upward, 11), (_Upward, 12), (_Upward, 17), (_Attention, 14), (_Attention, 17)]
)
def test_an_export_of_torch(kind: type[nn.Module], opset: int) -> None:
    original = _network(kind, opset=opset)
    freed = with_free_batch(original, _outputs(original), input_wh=SIZE)
    _require_several(original, freed)
    for value in (*freed.graph.input, *freed.graph.output):
        batch, *others = value.type.tensor_type.shape.dim
        assert batch.dim_param == "batch"
        assert all(dim.dim_value > 0 for dim in others), value.name


def test_arithmetic_on_shapes_is_gone() -> None:
    """A dynamic export computes them from the picture; here its size is known."""
    original = _network(_Upward, opset=17, dynamic=True)
    assert {"Shape", "Gather"} < {node.op_type for node in original.graph.node}
    freed = with_free_batch(original, _outputs(original), input_wh=SIZE)
    _require_several(original, freed)
    assert {node.op_type for node in freed.graph.node} == {"Conv", "Resize", "Concat", "Reshape", "Transpose", "Slice"}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in freed.graph.initializer}
    resize = next(node for node in freed.graph.node if node.op_type == "Resize")
    assert stored[resize.input[2]].tolist() == [1, 1, 2, 2]
    assert len(resize.input) == 3


def test_a_part_of_the_graph() -> None:
    original = _network(_Attention, opset=17)
    conv = next(node for node in original.graph.node if node.op_type == "Conv")
    freed = with_free_batch(original, [conv.output[0]], input_wh=SIZE)
    assert {node.op_type for node in freed.graph.node} == {"Mul", "Conv"}
    assert _outputs(freed) == [conv.output[0]]


def _graph(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Values],
    *,
    dims: Sequence[int] = (1, 3, 64, 96),
    outputs: Sequence[str] = ("out",),
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(dims))],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        initializer=[numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_sizes_whose_quotient_is_rounded_down(mode: str) -> None:
    """11 * float32(13 / 11) and 44 * float32(13 / 44) are below 13."""
    sizes = np.array([1, 3, 13, 13])
    resize = helper.make_node("Resize", ["images", "", "", "sizes"], ["out"], mode=mode)
    original = _graph([resize], {"sizes": sizes}, dims=(1, 3, 11, 44))
    freed = with_free_batch(original, ["out"], input_wh=(44, 11))
    image = np.random.default_rng(5).random((1, 3, 11, 44), np.float32)
    np.testing.assert_allclose(_run(freed, image)[0], _run(original, image)[0], atol=1e-5)


def test_a_batch_of_four() -> None:
    """All that a shape says of the batch is 4, also where it is one with other axes."""
    weights = {
        "back": np.array([4, -1, 64, 96]),
        "wide": np.array([4, 3, 64, 96]),
        "sizes": np.array([4, 3, 32, 32]),
    }
    nodes = [
        helper.make_node("Constant", [], ["flat"], value_ints=[12, 64, 96]),
        helper.make_node("Reshape", ["images", "flat"], ["a"]),
        helper.make_node("Reshape", ["a", "back"], ["b"]),
        helper.make_node("ReduceMax", ["b"], ["c"], axes=[1]),
        helper.make_node("Expand", ["c", "wide"], ["d"]),
        helper.make_node("Add", ["d", "images"], ["e"]),
        helper.make_node("Resize", ["e", "", "", "sizes"], ["out"], mode="linear"),
    ]
    original = _graph(nodes, weights, dims=(4, 3, 64, 96))
    freed = with_free_batch(original, ["out"], input_wh=SIZE)
    images = np.random.default_rng(5).random((3, 3, 64, 96), np.float32)
    np.testing.assert_allclose(_run(freed, images)[0], _run(original, images[[0, 1, 2, 0]])[0][:3], atol=1e-6)


def test_rows_of_all_pictures_by_indices_of_each() -> None:
    """The last step of end-to-end exports: flattened rows, and positions among those of one picture."""
    weights = {"shape": np.array([1, 96, 192]), "k": np.array([5]), "rows": np.array([96, 192])}
    nodes = [
        helper.make_node("Reshape", ["images", "shape"], ["table"]),
        helper.make_node("ReduceMax", ["table"], ["best"], axes=[2], keepdims=0),
        helper.make_node("TopK", ["best", "k"], ["score", "place"]),
        helper.make_node("Reshape", ["table", "rows"], ["flat"]),
        helper.make_node("Gather", ["flat", "place"], ["out"]),
    ]
    original = _graph(nodes, weights)
    _require_several(original, with_free_batch(original, ["out"], input_wh=SIZE))


def test_a_graph_without_an_axis_for_pictures_is_refused() -> None:
    model = _graph([helper.make_node("Squeeze", ["images", "zero"], ["out"])], {"zero": np.array([0])})
    with pytest.raises(DataError, match=r"at node out \(Squeeze\).*; export it again with a dynamic batch axis"):
        with_free_batch(model, ["out"], input_wh=SIZE)


def test_a_node_that_does_not_fit_the_size_is_named() -> None:
    model = _graph([helper.make_node("Add", ["images", "table"], ["out"])], {"table": np.zeros((64, 90), np.float32)})
    with pytest.raises(DataError, match=r"node out \(Add\) does not fit this size of pictures"):
        with_free_batch(model, ["out"], input_wh=SIZE)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("ConstantOfShape", ["huge"], ["out"]),
        helper.make_node("Expand", ["zero", "huge"], ["out"]),
        helper.make_node("Tile", ["pair", "huge"], ["out"]),
        helper.make_node("Range", ["zero", "end", "step"], ["out"]),
        helper.make_node("Mul", ["row", "column"], ["out"]),
    ],
    ids=lambda node: node.op_type,
)
def test_huge_tensors_are_not_computed(node: onnx.NodeProto) -> None:
    weights = {
        "huge": np.array([1 << 20, 1 << 20]),
        "pair": np.zeros((1, 1), np.int64),
        "zero": np.array(0),
        "end": np.array(1 << 40),
        "step": np.array(1),
        "row": np.zeros((1, 1 << 20), np.int64),
        "column": np.zeros((1 << 20, 1), np.int64),
    }
    shapes = Shapes(_graph([node], weights), {})
    shapes.follow(node)
    assert np.prod(np.array(shapes.shapes["out"], np.float64)) >= 1 << 39
    assert "out" not in shapes.values


def _last_convolutions(model: onnx.ModelProto) -> list[str]:
    maker = {name: node for node in model.graph.node for name in node.output}
    waiting, found, seen = _outputs(model), list[str](), set[str]()
    while waiting:
        tensor = waiting.pop()
        node = maker.get(tensor)
        if node is None or tensor in seen:
            continue
        seen.update(node.output)
        if node.op_type == "Conv":
            found.append(tensor)
        else:
            waiting.extend(node.input)
    return found


DETR = ("/decoder/Gather_5_output_0", "/decoder/Gather_6_output_0")


@pytest.mark.parametrize(
    ("file", "tensors", "gone"),
    [
        ("nanodet-m-320", (), {"Shape", "Gather", "Cast", "Slice"}),
        ("rtmdet-nano-person-320", (), {"Shape", "Gather"}),
        ("yolox-nano-416", ("output",), set()),
        ("yolo11n-320-dynint8.AGPL", ("output0",), {"ConvInteger"}),
        ("yolo26n-e2e-dynint8.AGPL", ("output0",), {"ConvInteger"}),
        ("deimv2-atto-320-dynint8", DETR, {"ConvInteger", "MatMulInteger"}),
    ],
)
def test_real_files(test_data: Path, file: str, tensors: Sequence[str], gone: set[str]) -> None:
    model = dequantised(onnx.load(test_data / "models" / f"{file}.onnx"))
    if "deim" in file:
        sizes = next(value for value in model.graph.input if value.name == "orig_target_sizes")
        model.graph.input.remove(sizes)
    side = next(side for side in (416, 320, 640) if str(side) in file or side == 640)
    freed = with_free_batch(model, tensors or _last_convolutions(model), input_wh=(side, side))
    onnx.checker.check_model(freed, full_check=True)
    assert not gone & {node.op_type for node in freed.graph.node}
    images = np.random.default_rng(1).random((3, 3, side, side), np.float32)
    assert all(len(value) == 3 for value in _run(freed, images))
