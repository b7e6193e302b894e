"""ONNX exports as YOLOv5's users have them: torch's own exporter, the decode inside, written from its description."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import onnxslim
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from provisioning.model.network import Yolov5


class FourHeads(nn.Module):
    """A small network with the heads of YOLOv5's P6 models, strides 8 to 64, and anchors of its own."""

    strides = (8, 16, 32, 64)

    def __init__(self, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.anchors = torch.rand(4, 3, 2) * 90 + 10
            self.stem = nn.Conv2d(3, 8, 3, 4, 1)
            self.steps = nn.ModuleList(nn.Conv2d(8, 8, 3, 2, 1) for _ in self.strides)
            self.heads = nn.ModuleList(nn.Conv2d(8, 3 * (5 + classes), 1) for _ in self.strides)
        for head in self.heads:
            nn.init.normal_(head.weight, std=4.0)  # type: ignore[arg-type]

    def _logits(self, images: Tensor) -> list[Tensor]:
        x, found = self.stem(images), []
        for step, head in zip(self.steps, self.heads, strict=True):
            x = nn.functional.silu(step(x))
            found.append(head(x))
        return found

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            head.view(head.shape[0], 3, -1, *head.shape[2:]).permute(0, 1, 3, 4, 2) for head in self._logits(images)
        )

    def sigmoid_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(head.sigmoid() for head in self._logits(images))


class WithDecode(nn.Module):
    """The network with boxes as its output: (B, N, 5+classes) in network pixels.

    Args:
        net: raw heads, anchors and strides.
        exponential: decode sizes as YOLOv3 does, exp(t) * anchor.
        descending: the head of the largest stride first.
    """

    def __init__(self, net: Yolov5 | FourHeads, *, exponential: bool = False, descending: bool = False) -> None:
        super().__init__()
        self.net, self.exponential, self.descending = net, exponential, descending

    def forward(self, images: Tensor) -> Tensor:
        rows = []
        for head, anchors, stride in zip(self.net(images), self.net.anchors, self.net.strides, strict=False):
            batch, count, height, width, fields = head.shape
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            cell = torch.stack((x, y), -1).float()
            score = head.sigmoid()
            sizes = head[..., 2:4].exp() if self.exponential else (score[..., 2:4] * 2) ** 2
            boxes = torch.cat(
                ((score[..., :2] * 2 - 0.5 + cell) * stride, sizes * anchors.view(1, count, 1, 1, 2), score[..., 4:]),
                -1,
            )
            rows.append(boxes.reshape(batch, -1, fields))
        return torch.cat(rows[::-1] if self.descending else rows, 1)


class Raw(nn.Module):
    """The network with its logits as outputs, (B, A, H, W, 5+classes) each."""

    def __init__(self, net: Yolov5) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        heads: tuple[Tensor, ...] = self.net(images)
        return heads


def exported(
    module: nn.Module,
    *,
    input_wh: tuple[int, int] = (96, 64),
    dynamic: bool = False,
    opset: int = 12,
    names: str = "",
    outputs: Sequence[str] = (),
    sizes: tuple[int, int] | None = None,
) -> bytes:
    """torch's ONNX of a module; `names` becomes metadata, `sizes` a second input as the DETR family has it."""
    images = torch.rand(1, 3, input_wh[1], input_wh[0])
    file = io.BytesIO()
    axes = {"images": {0: "batch", 2: "height", 3: "width"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that YOLOv5 uses is deprecated and says so
        torch.onnx.export(
            module.eval(),
            (images,) if sizes is None else (images, torch.tensor([sizes])),
            file,  # type: ignore[arg-type]  # this exporter takes one, its annotation says otherwise
            dynamo=False,
            opset_version=opset,
            input_names=["images"] if sizes is None else ["images", "orig_target_sizes"],
            output_names=list(outputs) or None,
            dynamic_axes=axes,
        )
    model = onnx.load_model_from_string(file.getvalue())
    if names:
        onnx.helper.set_model_props(model, {"names": names, "stride": "32"})
    content: bytes = model.SerializeToString()
    return content


def simplified(content: bytes) -> bytes:
    """As `--simplify` and torch's newer exporter leave it: every size of this one picture is a constant."""
    model = onnx.shape_inference.infer_shapes(onnxslim.slim(onnx.load_model_from_string(content)), data_prop=True)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.value_info
    }
    for node in model.graph.node:
        if node.op_type == "Resize":
            name = f"{node.output[0]}/size"
            sizes = np.array(shapes[node.output[0]], np.int64)
            model.graph.initializer.append(numpy_helper.from_array(sizes, name))
            node.input[:] = [node.input[0], node.input[1], "", name]
    made: bytes = model.SerializeToString()
    return made


def resized_along_axes(content: bytes) -> bytes:
    """The same file, its `Resize` told the scales of height and width alone, as opset 18 allows."""
    model = onnx.load_model_from_string(simplified(content))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 2], np.float32), "twice"))
    for node in model.graph.node:
        if node.op_type == "Resize":
            node.input[:] = [node.input[0], "", "twice"]
            node.attribute.append(helper.make_attribute("axes", [2, 3]))
    made: bytes = model.SerializeToString()
    return made


def in_half_with_single_ends(content: bytes) -> bytes:
    """As a converter to FP16 leaves it that keeps the ends in float32: its casts stand behind all other nodes."""
    model = onnx.load_model_from_string(content)
    graph = model.graph
    for tensor in graph.initializer:
        _halve(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            _halve(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
        node.input[:] = ["half" if name == "images" else name for name in node.input]
        node.output[:] = ["half out" if name == graph.output[0].name else name for name in node.output]
    del graph.value_info[:]
    graph.node.append(helper.make_node("Cast", ["images"], ["half"], to=TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", ["half out"], [graph.output[0].name], to=TensorProto.FLOAT))
    made: bytes = model.SerializeToString()
    return made


def _halve(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))


class BoxesAndScores(nn.Module):
    """The network with its boxes (B, N, 4) and class scores (B, classes, N) apart."""

    def __init__(self, net: Yolov5) -> None:
        super().__init__()
        self.decode = WithDecode(net)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        table = self.decode(images)
        return table[..., :4], (table[..., 5:] * table[..., 4:5]).transpose(1, 2)


class Corners(nn.Module):
    """The network with its boxes as corners, in shares of the picture: (B, N, 5+classes)."""

    def __init__(self, net: Yolov5) -> None:
        super().__init__()
        self.decode = WithDecode(net)

    def forward(self, images: Tensor) -> Tensor:
        table = self.decode(images)
        centre, half = table[..., :2], table[..., 2:4] / 2
        side = torch.tensor(images.shape[3:1:-1], dtype=torch.float32)
        return torch.cat(((centre - half) / side, (centre + half) / side, table[..., 4:]), -1)


def suppressed(content: bytes) -> bytes:
    """The same file with a standard NMS behind its boxes."""
    model = onnx.load_model_from_string(content)
    graph = model.graph
    table = graph.output[0].name
    for name, start, end in (("boxes", 0, 4), ("scores", 5, 99)):
        for key, value in (("starts", start), ("ends", end)):
            graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), f"{name}/{key}"))
        graph.node.append(helper.make_node("Slice", [table, f"{name}/starts", f"{name}/ends", "axis"], [name]))
    graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "axis"))
    for name, limit in (("least", 0.25), ("iou", 0.45)):
        graph.initializer.append(numpy_helper.from_array(np.array([limit], np.float32), name))
    graph.initializer.append(numpy_helper.from_array(np.array([100], np.int64), "most"))
    graph.node.append(helper.make_node("Transpose", ["scores"], ["by class"], perm=[0, 2, 1]))
    graph.node.append(helper.make_node("NonMaxSuppression", ["boxes", "by class", "most", "iou", "least"], ["kept"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("kept", TensorProto.INT64, [None, 3]))
    made: bytes = model.SerializeToString()
    return made
