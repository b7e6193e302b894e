"""Writes a network as ONNX, its graph built directly: the same weights always give the same bytes.

Torch's own exporters are not used: the one over TorchScript is deprecated, the newer one needs onnxscript and its node
names are not stable. YOLOv5 has nine kinds of layer, so this module builds the graph itself. It is as small as a
simplifier makes it (onnxslim finds nothing to remove; a test checks this), and every node has its module's name.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edged.core.decode import head_names
from edged.core.errors import EdgedError, UsageError
from edged.core.manifest import MAX_SIDE
from edged.cpu.processors import available_cores
from edged.cpu.session import open_session
from provisioning.model.blocks import C3, LEAKY_SLOPE, SPP, SPPF, Bottleneck, Concat, Conv, Detect
from provisioning.model.network import Yolov5

INPUT = "images"
FREE_BATCH = "batch"
OPSET = 17
IR_VERSION = 8  # belongs to opset 17; TensorRT 8.5 and ONNX Runtime 1.20 read it
MAX_DIFFERENCE = 1e-4  # largest difference of a probability between ONNX Runtime and torch


def export_onnx(net: Yolov5, *, input_wh: tuple[int, int], names: Sequence[str], opset: int = OPSET) -> bytes:
    """The network as an ONNX file, without Detect's decode, verified against torch.

    The graph maps `images` (B, channels, H, W) float32, RGB in 0..1, to `p3`, `p4`, `p5`, each (B, A*(5+classes),
    H/stride, W/stride) float32 in 0..1. Normalisation is folded into the convolutions. Metadata: `stride` (the
    largest), `names` ({0: 'person', ...}), `strides` and `anchors` (JSON, network pixels).

    Args:
        net: in training or evaluation mode; it is not changed.
        input_wh: width and height in pixels, multiples of the largest stride, square or not.
        names: class names, by class id.
        opset: 13 or later.

    Raises:
        UsageError: an input size that is no multiple of the stride.
        EdgedError: ONNX Runtime computes something else than torch.
    """
    check_input_size(input_wh, net.strides[-1])
    fused = net.fused().float().cpu()
    model = _model(fused, input_wh=input_wh, opset=opset)
    helper.set_model_props(
        model,
        {
            "stride": str(net.strides[-1]),
            "names": str(dict(enumerate(names))),
            "strides": json.dumps(net.strides),
            "anchors": json.dumps(net.anchors.tolist()),
        },
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    _verify(content, fused, input_wh=input_wh)
    return content


def with_batch(content: bytes, batch: int) -> bytes:
    """A copy of an exported model (ONNX bytes) whose batch size is fixed to `batch`."""
    model = onnx.load_model_from_string(content)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    fixed: bytes = model.SerializeToString(deterministic=True)
    return fixed


def check_input_size(input_wh: tuple[int, int], stride: int) -> None:
    """Check that both sides (pixels) are multiples of `stride`, at most MAX_SIDE.

    Raises:
        UsageError: one is not; the remedy names the nearest sizes that are.
    """
    if any(side < stride or side > MAX_SIDE or side % stride for side in input_wh):
        down, up = (tuple(max(stride, (side + extra) // stride * stride) for side in input_wh) for extra in (0, stride))
        raise UsageError(
            f"input size {input_wh[0]}x{input_wh[1]} must be multiples of {stride}, at most {MAX_SIDE}",
            remedy=f"take {down[0]}x{down[1]} or {up[0]}x{up[1]}",
        )


class _Graph:
    """A graph under construction. Every method adds nodes and returns the name of the tensor they make."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401 (onnx.helper's)
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: torch.Tensor | npt.NDArray[np.float32]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(value)), name))
        return name

    def conv2d(self, conv: nn.Conv2d, x: str, name: str) -> str:
        inputs = [x, self.constant(f"{name}.weight", conv.weight.detach())]
        if conv.bias is not None:
            inputs.append(self.constant(f"{name}.bias", conv.bias.detach()))
        pads = [int(side) for side in conv.padding] * 2
        kernel, strides = list(conv.kernel_size), list(conv.stride)
        return self.add("Conv", inputs, name, kernel_shape=kernel, pads=pads, strides=strides)

    def max_pool(self, x: str, kernel: int, name: str) -> str:
        return self.add("MaxPool", [x], name, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, strides=[1, 1])

    def concat(self, inputs: list[str], name: str) -> str:
        return self.add("Concat", inputs, name, axis=1)

    def conv(self, module: Conv, x: str, name: str) -> str:
        y = self.conv2d(module.conv, x, f"{name}.conv")
        if isinstance(module.act, nn.ReLU):
            return self.add("Relu", [y], f"{name}.act")
        if isinstance(module.act, nn.LeakyReLU):
            return self.add("LeakyRelu", [y], f"{name}.act", alpha=LEAKY_SLOPE)
        return self.add("Mul", [y, self.add("Sigmoid", [y], f"{name}.sigmoid")], f"{name}.act")

    def c3(self, module: C3, x: str, name: str) -> str:
        y = self.conv(module.cv1, x, f"{name}.cv1")
        for index, block in enumerate(module.m):
            if not isinstance(block, Bottleneck):
                raise TypeError(f"a C3 of {type(block).__name__}")
            inner = f"{name}.m.{index}"
            z = self.conv(block.cv2, self.conv(block.cv1, y, f"{inner}.cv1"), f"{inner}.cv2")
            y = self.add("Add", [y, z], f"{inner}.add") if block.add else z
        joined = self.concat([y, self.conv(module.cv2, x, f"{name}.cv2")], f"{name}.concat")
        return self.conv(module.cv3, joined, f"{name}.cv3")

    def pyramid(self, module: SPP | SPPF, x: str, name: str) -> str:
        maps = [self.conv(module.cv1, x, f"{name}.cv1")]
        if isinstance(module, SPP):
            maps += [self.max_pool(maps[0], kernel, f"{name}.m.{i}") for i, kernel in enumerate(SPP.KERNELS)]
        else:
            for index in range(3):
                maps.append(self.max_pool(maps[-1], 5, f"{name}.m.{index}"))
        return self.conv(module.cv2, self.concat(maps, f"{name}.concat"), f"{name}.cv2")

    def double(self, x: str, name: str) -> str:
        scales = self.constant(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
        mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.add("Resize", [x, "", scales], name, **mode)

    def layer(self, module: nn.Module, inputs: list[str], name: str) -> str:
        if isinstance(module, Conv):
            return self.conv(module, inputs[0], name)
        if isinstance(module, C3):
            return self.c3(module, inputs[0], name)
        if isinstance(module, (SPP, SPPF)):
            return self.pyramid(module, inputs[0], name)
        if isinstance(module, nn.Upsample):
            return self.double(inputs[0], name)
        if isinstance(module, Concat):
            return self.concat(inputs, name)
        raise TypeError(f"no ONNX form for {type(module).__name__}")

    def heads(self, module: Detect, inputs: list[str], name: str) -> None:
        for index, (conv, x, output) in enumerate(zip(module.m, inputs, head_names(len(inputs)), strict=True)):
            if not isinstance(conv, nn.Conv2d):
                raise TypeError(f"a head is a {type(conv).__name__}")
            self.add("Sigmoid", [self.conv2d(conv, x, f"{name}.m.{index}")], output)


def _model(net: Yolov5, *, input_wh: tuple[int, int], opset: int) -> onnx.ModelProto:
    graph, tensors = _Graph(), list[str]()
    last = len(net.table) - 1
    for index, (row, module) in enumerate(zip(net.table, net.model, strict=True)):
        previous = tensors[-1] if tensors else INPUT
        inputs = [previous if source == -1 else tensors[source] for source in row.source]
        if index == last:
            graph.heads(net.detect, inputs, f"model.{index}")
        else:
            tensors.append(graph.layer(module, inputs, f"model.{index}"))
    width, height = input_wh
    channels = net.anchors.shape[1] * (5 + net.classes)
    shapes: list[list[str | int | None]] = [
        [FREE_BATCH, channels, height // stride, width // stride] for stride in net.strides
    ]
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"yolov5{net.size}",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [FREE_BATCH, net.channels, height, width])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, s)
                for name, s in zip(head_names(len(shapes)), shapes, strict=True)
            ],
            initializer=graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="edged",
    )


def _verify(content: bytes, net: Yolov5, *, input_wh: tuple[int, int]) -> None:
    """Raise unless ONNX Runtime agrees with torch on a random picture."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, net.channels, input_wh[1], input_wh[0], generator=generator)
    session = open_session(content, threads=available_cores(), where="the exported model")
    got = cast("list[npt.NDArray[np.float32]]", session.run(None, {INPUT: images.numpy()}))
    with torch.no_grad():
        expected = net.sigmoid_maps(images)
    worst = _worst(got, expected)
    if worst <= MAX_DIFFERENCE:
        return
    # Some weights amplify float32 rounding beyond the limit in any runtime: compare with that rounding instead.
    with torch.no_grad():
        exact = copy.deepcopy(net).double().sigmoid_maps(images.double())
    rounding = _worst([head.numpy() for head in expected], exact)
    if not _worst(got, exact) <= 3 * rounding:  # NaN fails too
        raise EdgedError(f"ONNX Runtime differs from torch by {worst:.2g} on the exported model, more than rounding")


def _worst(got: Sequence[npt.NDArray[np.float32]], expected: Sequence[torch.Tensor]) -> float:
    """The largest difference of any element; NaN if one is NaN."""
    return float(np.max([np.abs(a - b.numpy()).max() for a, b in zip(got, expected, strict=True)]))
