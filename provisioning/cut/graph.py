"""Reads a user's ONNX file safely, finds its head convolutions, and keeps only the nodes that lead to them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edged.core.decode import head_names
from edged.core.errors import DataError
from provisioning.cut.around import COLOURS, kinds_on_the_way
from provisioning.cut.family import HEAD_COUNTS, not_yolov5, refuse_other_tasks
from provisioning.cut.outside import take_in_weights
from provisioning.export import INPUT
from provisioning.graphs.dequantised import dequantised
from provisioning.graphs.rewriting import reads, sort_nodes

_RANK = 4  # (B, 3, H, W)
MAX_BYTES = (2 << 30) - 1  # protobuf's own limit
MIN_IR_VERSION = 4  # the first in which weights need not be graph inputs
MAX_IR_VERSION = 10  # the latest that ONNX Runtime 1.20 reads

# Nodes between a head and an output that is not decoded: layout and a sigmoid, no arithmetic.
_LAYOUT = frozenset({"Sigmoid", "Reshape", "Transpose", "Identity", "Concat", "Unsqueeze", "Cast"})
_JOINTS = frozenset({"Concat", "Reshape", "Transpose"})  # the last nodes of the decode in YOLOv5 exports


@dataclass(frozen=True, slots=True)
class Heads:
    """The head convolutions of a graph.

    Attributes:
        tensors: names of their outputs, in no particular order.
        channels: of each head, A*(5+classes).
        behind: types of the nodes between the heads and the graph's outputs.
        between: names of tensors there that may hold decoded boxes, those nearest to the outputs first.
    """

    tensors: tuple[str, ...]
    channels: int
    behind: frozenset[str]
    between: tuple[str, ...]

    @property
    def raw(self) -> bool:
        """Whether the graph does not decode the heads."""
        return self.behind <= _LAYOUT


def read_onnx(content: bytes, *, folder: Path | None = None) -> onnx.ModelProto:
    """Parse and check an ONNX file, and turn a quantised one into the float graph that it stands for.

    Args:
        content: of the file.
        folder: where it lies: weights in other files there are read, too. None: a file with such weights is refused.

    Raises:
        DataError: as `parsed_onnx`, or it is quantised in a form that `dequantised` does not read, or a model that
            `refuse_other_tasks` refuses.
    """
    model = dequantised(parsed_onnx(content, folder=folder))
    refuse_other_tasks(model)
    return model


def parsed_onnx(content: bytes, *, folder: Path | None = None) -> onnx.ModelProto:
    """Parse and check an ONNX file; see `read_onnx`. A quantised one stays so.

    Raises:
        DataError: the file is empty, too large, truncated or invalid, has weights outside the file that may not be
            read, sparse weights or operators of other domains.
    """
    size = f"{len(content):,} bytes"
    if not content or len(content) > MAX_BYTES:
        raise DataError(f"an ONNX file of {size}, expected 1 to {MAX_BYTES:,}")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as exc:  # protobuf's DecodeError is of another class in each of its implementations
        raise DataError(f"truncated, or no ONNX file ({size}): {_first_line(exc)}") from exc
    take_in_weights(model, folder, room=MAX_BYTES - len(content))
    sort_nodes(model)
    _require_standard(model)
    try:
        onnx.checker.check_model(model)
    except Exception as exc:  # the checker's errors share no base below Exception
        raise DataError(f"invalid ONNX: {_first_line(exc)}") from exc
    return model


def _require_standard(model: onnx.ModelProto) -> None:
    foreign = next((node for node in model.graph.node if node.domain not in {"", "ai.onnx"}), None)
    if foreign is None:
        return
    quantised = foreign.op_type.startswith("QLinear") or "Integer" in foreign.op_type
    raise DataError(
        f"node {foreign.name or foreign.output[0]} is {foreign.domain}::{foreign.op_type}, "
        + ("quantised for one runtime only" if quantised else "no standard operator"),
        remedy="import the float export; `edged-provision quantize` makes INT8 of it"
        if quantised
        else "export it without NMS, plugins and optimisations of one runtime",
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """The input of a graph.

    Attributes:
        name: of the tensor.
        batch: fixed batch size; 1 if it is free.
        size_wh: fixed (width, height), pixels; None if it is free.
    """

    name: str
    batch: int
    size_wh: tuple[int, int] | None


def image_input(model: onnx.ModelProto, *, besides: Container[str] = ()) -> Picture:
    """Find the input for pictures.

    Args:
        model: nodes in order.
        besides: names of inputs that are none.

    Raises:
        DataError: the graph does not have exactly one float32 input (B, 3, H, W).
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights and value.name not in besides]
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs]
    first = shapes[0] if len(inputs) == 1 else []
    channels_last = len(first) == _RANK and first[1] != COLOURS and first[3] == COLOURS
    if len(first) != _RANK or first[1] not in {0, COLOURS} or channels_last:
        found = ", ".join(f"{value.name} {shape}" for value, shape in zip(inputs, shapes, strict=True)) or "none"
        raise DataError(
            f"expected one picture input (B, 3, H, W), got {found}" + (", channels last" if channels_last else ""),
            remedy="export it from PyTorch, not by way of TensorFlow" if channels_last else "",
        )
    kind = inputs[0].type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        raise DataError(
            f"input {inputs[0].name} is {TensorProto.DataType.Name(kind).lower()}, expected float32 or float16",
            remedy="export it with pictures of 0..1 as input",
        )
    batch, _, height, width = shapes[0]
    return Picture(inputs[0].name, batch or 1, (width, height) if width and height else None)


def find_heads(model: onnx.ModelProto) -> Heads:
    """Follow the graph from its outputs back to the nearest convolution on every path.

    Raises:
        DataError: these are not YOLOv5's heads: three or four 1x1 convolutions with the same number of channels.
    """
    maker = {output: node for node in model.graph.node for output in node.output if output}
    waiting, seen = [value.name for value in model.graph.output], set[str]()
    heads: list[onnx.NodeProto] = []
    between: list[str] = []
    while waiting:
        tensor = waiting.pop()
        node = maker.get(tensor)
        if tensor in seen or node is None:
            continue
        seen.update(node.output)
        if node.op_type == "Conv":
            heads.append(node)
        else:
            between.extend(node.output if node.op_type in _JOINTS else ())
            waiting.extend(node.input)
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    weights |= {node.output[0]: _constant_dims(node) for node in model.graph.node if node.op_type == "Constant"}
    shapes = [weights.get(node.input[1], []) for node in heads]
    channels = {shape[0] for shape in shapes if _is_1x1(shape)}
    if len(heads) not in HEAD_COUNTS or len(channels) != 1 or not all(map(_is_1x1, shapes)):
        names = [node.name or node.output[0] for node in heads]
        raise not_yolov5(model, list(zip(names, shapes, strict=True)))
    tensors = tuple(node.output[0] for node in heads)
    ways = kinds_on_the_way(model, tensors)
    behind = frozenset[str]().union(*(ways.get(value.name, ()) for value in model.graph.output))
    return Heads(tensors, channels=shapes[0][0], behind=behind, between=tuple(between))


def with_outputs(model: onnx.ModelProto, tensors: tuple[str, ...]) -> bytes:
    """The model, serialised, with these tensors as further outputs."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    present = {value.name for value in twin.graph.output}
    twin.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in tensors if name not in present)
    content: bytes = twin.SerializeToString(deterministic=True)
    return content


def cut(
    model: onnx.ModelProto,
    heads: tuple[str, ...],
    *,
    input_wh: tuple[int, int],
    strides: tuple[int, ...],
    channels: int,
) -> onnx.ModelProto:
    """The part of the graph from the picture to the heads, with a sigmoid after each.

    Its batch size is free, its picture size is fixed, and inputs and outputs have the names of our own exports.

    Args:
        model: the whole graph.
        heads: names of the heads' tensors, smallest stride first.
        input_wh: network input (width, height), pixels.
        strides: of the heads, pixels.
        channels: of each head.

    Raises:
        DataError: an inner tensor has a name that we give to an input or output.
    """
    picture, outputs = image_input(model).name, head_names(len(heads))
    nodes = upstream(model, heads)
    taken = {name for node in nodes for name in node.output} & {INPUT, *outputs}
    if taken:
        raise DataError(f"the graph has inner tensors called {', '.join(sorted(taken))}, which edged uses for its own")
    needed = {name for node in nodes for name in reads(node)} | set(heads)
    sigmoids = [helper.make_node("Sigmoid", [h], [p], name=p) for h, p in zip(heads, outputs, strict=True)]
    for node in nodes:
        node.input[:] = [INPUT if name == picture else name for name in node.input]
    width, height = input_wh
    shapes: list[list[str | int | None]] = [
        ["batch", channels, height // stride, width // stride] for stride in strides
    ]
    graph = helper.make_graph(
        [*nodes, *sigmoids],
        "yolov5",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, height, width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in zip(outputs, shapes, strict=True)],
        initializer=[tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    opsets = [opset for opset in model.opset_import if opset.domain in {"", "ai.onnx"}]
    ir_version = max(MIN_IR_VERSION, min(model.ir_version, MAX_IR_VERSION))
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="edged")


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The file's key-value metadata."""
    return {entry.key: entry.value for entry in model.metadata_props}


def upstream(model: onnx.ModelProto, tensors: tuple[str, ...]) -> list[onnx.NodeProto]:
    """Copies of the nodes that lead to `tensors`, in the graph's order."""
    wanted, kept = set(tensors), list[onnx.NodeProto]()
    for node in reversed(model.graph.node):  # sorted topologically: the checker has confirmed that
        if wanted.intersection(node.output):
            wanted |= reads(node)
            twin = onnx.NodeProto()
            twin.CopyFrom(node)
            twin.ClearField("doc_string")  # exporters write paths of their machine into it
            twin.ClearField("metadata_props")
            kept.append(twin)
    return kept[::-1]


def _constant_dims(node: onnx.NodeProto) -> list[int]:
    return next((list(attribute.t.dims) for attribute in node.attribute if attribute.name == "value"), [])


def _is_1x1(shape: list[int]) -> bool:
    return len(shape) == 4 and shape[2:] == [1, 1]  # noqa: PLR2004 (outputs, inputs, height, width)


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
