"""Writes a network as ONNX, its graph built directly: the same weights always give the same bytes.

No exporter is used, and no torch: YOLOv5 has nine kinds of layer, and the network's description lists them. The graph
is as small as a simplifier makes it (onnxslim finds nothing to remove; a test checks this), and every node has its
module's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edged.core.decode import head_names
from edged.core.errors import EdgedError, UsageError
from edged.core.manifest import MAX_SIDE
from edged.cpu.processors import available_cores
from edged.cpu.session import open_session
from provisioning.model import parts, reference
from provisioning.model.description import Description
from provisioning.model.folding import Array, focus_kernel, folded
from provisioning.model.parts import LEAKY_SLOPE

INPUT = "images"
FREE_BATCH = "batch"
OPSET = 17
IR_VERSION = 8  # belongs to opset 17; TensorRT 8.5 and ONNX Runtime 1.20 read it
MAX_DIFFERENCE = 1e-4  # largest difference of a probability between ONNX Runtime and the network itself


def export_onnx(
    description: Description,
    state: Mapping[str, Array],
    *,
    input_wh: tuple[int, int],
    names: Sequence[str],
    opset: int = OPSET,
) -> bytes:
    """The network as an ONNX file, without Detect's decode, verified against the same network computed in numpy.

    The graph maps `images` (B, channels, H, W) float32, RGB in 0..1, to `p3`, `p4`, `p5`, each (B, A*(5+classes),
    H/stride, W/stride) float32 in 0..1. Normalisation is folded into the convolutions. Metadata: `stride` (the
    largest), `names` ({0: 'person', ...}), `strides` and `anchors` (JSON, network pixels).

    Args:
        description: of the network.
        state: its weights by the names of a checkpoint, float32, as `description.weights()` lists them.
        input_wh: width and height in pixels, multiples of the largest stride, square or not.
        names: class names, by class id.
        opset: 13 or later.

    Raises:
        UsageError: an input size that is no multiple of the stride.
        EdgedError: ONNX Runtime computes something else than the network.
    """
    check_input_size(input_wh, description.strides[-1])
    model = _model(description, state, input_wh=input_wh, opset=opset)
    helper.set_model_props(
        model,
        {
            "stride": str(description.strides[-1]),
            "names": str(dict(enumerate(names))),
            "strides": json.dumps(description.strides),
            "anchors": json.dumps(description.anchors),
        },
    )
    content: bytes = model.SerializeToString(deterministic=True)
    del model  # as large as the file
    _verify(content, description, state, input_wh=input_wh)
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

    def __init__(self, graph: onnx.GraphProto, description: Description, state: Mapping[str, Array]) -> None:
        self._graph = graph
        self._activation = description.activation
        self._state = state

    def add(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401 (onnx.helper's)
        self._graph.node.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Array) -> str:
        single = np.ascontiguousarray(value, dtype=np.float32)
        self._graph.initializer.append(numpy_helper.from_array(single, name))
        return name

    def conv2d(self, part: parts.Conv2d, kernel: Array, bias: Array, x: str, name: str) -> str:
        inputs = [x, self.constant(f"{name}.weight", kernel), self.constant(f"{name}.bias", bias)]
        pads, side = [part.padding] * 4, part.kernel
        return self.add("Conv", inputs, name, kernel_shape=[side, side], pads=pads, strides=[part.stride] * 2)

    def max_pool(self, x: str, kernel: int, name: str) -> str:
        return self.add("MaxPool", [x], name, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, strides=[1, 1])

    def concat(self, inputs: list[str], name: str) -> str:
        return self.add("Concat", inputs, name, axis=1)

    def conv(self, part: parts.Conv, x: str, name: str) -> str:
        y = self.conv2d(part.conv, *folded(self._state, name), x, f"{name}.conv")
        return self.activated(y, name)

    def activated(self, y: str, name: str) -> str:
        match self._activation:
            case "relu":
                return self.add("Relu", [y], f"{name}.act")
            case "leaky_relu":
                return self.add("LeakyRelu", [y], f"{name}.act", alpha=LEAKY_SLOPE)
            case "silu":
                return self.add("Mul", [y, self.add("Sigmoid", [y], f"{name}.sigmoid")], f"{name}.act")

    def focus(self, part: parts.Focus, x: str, name: str) -> str:
        kernel, bias = folded(self._state, f"{name}.conv")
        whole = parts.Conv2d(part.inputs, part.outputs, kernel=6, stride=2, padding=2)
        return self.activated(self.conv2d(whole, focus_kernel(kernel), bias, x, f"{name}.conv"), name)

    def c3(self, part: parts.C3, x: str, name: str) -> str:
        y = self.conv(part.branch, x, f"{name}.cv1")
        for index, block in enumerate(part.m):
            inner = f"{name}.m.{index}"
            z = self.conv(block.cv2, self.conv(block.cv1, y, f"{inner}.cv1"), f"{inner}.cv2")
            y = self.add("Add", [y, z], f"{inner}.add") if block.shortcut else z
        joined = self.concat([y, self.conv(part.branch, x, f"{name}.cv2")], f"{name}.concat")
        return self.conv(part.cv3, joined, f"{name}.cv3")

    def pyramid(self, part: parts.SPP | parts.SPPF, x: str, name: str) -> str:
        maps = [self.conv(part.cv1, x, f"{name}.cv1")]
        if isinstance(part, parts.SPP):
            maps += [self.max_pool(maps[0], kernel, f"{name}.m.{i}") for i, kernel in enumerate(parts.SPP_KERNELS)]
        else:
            for index in range(3):
                maps.append(self.max_pool(maps[-1], parts.SPPF_KERNEL, f"{name}.m.{index}"))
        return self.conv(part.cv2, self.concat(maps, f"{name}.concat"), f"{name}.cv2")

    def double(self, x: str, name: str) -> str:
        scales = self.constant(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
        mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.add("Resize", [x, "", scales], name, **mode)

    def layer(self, part: parts.Layer, inputs: list[str], name: str) -> str:
        match part:
            case parts.Conv():
                return self.conv(part, inputs[0], name)
            case parts.C3():
                return self.c3(part, inputs[0], name)
            case parts.SPPF() | parts.SPP():
                return self.pyramid(part, inputs[0], name)
            case parts.Focus():
                return self.focus(part, inputs[0], name)
            case parts.Double():
                return self.double(inputs[0], name)
            case parts.Concat():
                return self.concat(inputs, name)
            case parts.Detect():
                return self.heads(part, inputs, name)

    def heads(self, part: parts.Detect, inputs: list[str], name: str) -> str:
        for index, (head, x, output) in enumerate(zip(part.m, inputs, head_names(len(inputs)), strict=True)):
            inner = f"{name}.m.{index}"
            kernel, bias = self._state[f"{inner}.weight"], self._state[f"{inner}.bias"]
            self.add("Sigmoid", [self.conv2d(head, kernel, bias, x, inner)], output)
        return name


def _model(
    description: Description, state: Mapping[str, Array], *, input_wh: tuple[int, int], opset: int
) -> onnx.ModelProto:
    """The model. Its graph is filled in place: onnx's helper would copy all weights twice."""
    width, height = input_wh
    strides = description.strides
    shape: list[str | int | None] = [FREE_BATCH, description.channels, height, width]
    made = helper.make_model(
        helper.make_graph(
            [],
            f"yolov5{description.size}",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)],
            [
                helper.make_tensor_value_info(
                    name,
                    TensorProto.FLOAT,
                    [FREE_BATCH, len(anchors) * (5 + description.classes), height // stride, width // stride],
                )
                for name, stride, anchors in zip(head_names(len(strides)), strides, description.anchors, strict=True)
            ],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="edged",
    )
    graph, tensors = _Graph(made.graph, description, state), list[str]()
    for index, (row, part) in enumerate(zip(description.table, description.layers(), strict=True)):
        previous = tensors[-1] if tensors else INPUT
        inputs = [previous if source == -1 else tensors[source] for source in row.source]
        tensors.append(graph.layer(part, inputs, f"model.{index}"))
    return made


def _verify(content: bytes, description: Description, state: Mapping[str, Array], *, input_wh: tuple[int, int]) -> None:
    """Raise unless ONNX Runtime agrees with the network on a random picture."""
    width, height = input_wh
    image = np.random.default_rng(0).random((description.channels, height, width), np.float32)
    session = open_session(content, threads=available_cores(), where="the exported model", prepacked=False)
    heads = cast("list[npt.NDArray[np.float32]]", session.run(None, {INPUT: image[None]}))
    del session  # it holds the weights once more
    got = [head[0] for head in heads]
    expected = reference.sigmoid_maps(description, state, image)
    worst = _worst(got, expected)
    if worst <= MAX_DIFFERENCE:
        return
    # Some weights amplify float32 rounding beyond the limit in any runtime: compare with that rounding instead.
    exact = reference.sigmoid_maps(description, state, image.astype(np.float64))
    rounding = _worst(expected, exact)
    if not _worst(got, exact) <= 3 * rounding:  # NaN fails too
        raise EdgedError(f"ONNX Runtime differs from the network by {worst:.2g} on the exported model, beyond rounding")


def _worst(got: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference of any element; NaN if one is NaN."""
    return float(np.max([np.abs(a - b).max() for a, b in zip(got, expected, strict=True)]))
