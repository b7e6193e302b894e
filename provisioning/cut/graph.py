"""Reads a user's ONNX file safely, finds its head convolutions, and keeps only the nodes that lead to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from edged.core.errors import DataError
from provisioning.cut.around import COLOURS, kinds_on_the_way
from provisioning.cut.family import not_yolov5, refuse_other_models
from provisioning.export import INPUT, OUTPUTS
from provisioning.rewriting import reads, sort_nodes

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


def read_onnx(content: bytes) -> onnx.ModelProto:
    """Parse and check an ONNX file.

    Raises:
        DataError: the file is empty, too large, truncated or invalid, has weights outside the file, sparse weights or
            operators of other domains, or is a model that `refuse_other_models` refuses.
    """
    size = f"{len(content):,} bytes"
    if not content or len(content) > MAX_BYTES:
        raise DataError(f"an ONNX file of {size}, expected 1 to {MAX_BYTES:,}")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as exc:  # protobuf's DecodeError is of another class in each of its implementations
        raise DataError(f"truncated, or no ONNX file ({size}): {_first_line(exc)}") from exc
    _refuse_weights_elsewhere(model)
    refuse_other_models(model)
    sort_nodes(model)
    foreign = [node for node in model.graph.node if node.domain not in {"", "ai.onnx"}]
    if foreign:
        raise DataError(
            f"node {foreign[0].name or foreign[0].output[0]} is {foreign[0].domain}::{foreign[0].op_type}, "
            "no standard operator",
            remedy="export it without NMS, plugins and optimisations of one runtime",
        )
    try:
        onnx.checker.check_model(model)
    except Exception as exc:  # the checker's errors share no base below Exception
        raise DataError(f"invalid ONNX: {_first_line(exc)}") from exc
    return model


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


def image_input(model: onnx.ModelProto) -> Picture:
    """Find the input for pictures.

    Raises:
        DataError: the graph does not have exactly one float32 input (B, 3, H, W).
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
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
        DataError: these are not YOLOv5's heads: three 1x1 convolutions with the same number of channels.
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
    if len(heads) != len(OUTPUTS) or len(channels) != 1 or not all(map(_is_1x1, shapes)):
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
    picture = image_input(model).name
    nodes = _upstream(model, heads)
    taken = {name for node in nodes for name in node.output} & {INPUT, *OUTPUTS}
    if taken:
        raise DataError(f"the graph has inner tensors called {', '.join(sorted(taken))}, which edged uses for its own")
    needed = {name for node in nodes for name in reads(node)} | set(heads)
    sigmoids = [helper.make_node("Sigmoid", [h], [p], name=p) for h, p in zip(heads, OUTPUTS, strict=True)]
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
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in zip(OUTPUTS, shapes, strict=True)],
        initializer=[tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    opsets = [opset for opset in model.opset_import if opset.domain in {"", "ai.onnx"}]
    ir_version = max(MIN_IR_VERSION, min(model.ir_version, MAX_IR_VERSION))
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="edged")


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The file's key-value metadata."""
    return {entry.key: entry.value for entry in model.metadata_props}


def _refuse_weights_elsewhere(model: onnx.ModelProto) -> None:
    """Refuse weights outside the file: a reader of ONNX would load them from any path that the file names."""
    inside_functions = (tensor for function in model.functions for node in function.node for tensor in _stored(node))
    tensors = (*_kept_in(model.graph), *inside_functions)
    outside = [tensor.name for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL]
    if outside:
        raise DataError(
            f"weights outside the file ({outside[0] or 'without a name'} and {len(outside) - 1} more); refused",
            remedy="export it as a single file",
        )
    if model.graph.sparse_initializer:
        raise DataError("weights stored as sparse tensors, which are not read", remedy="export it with plain weights")


def _kept_in(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor stored in a graph and in the subgraphs of its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _stored(node)


def _stored(node: onnx.NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:  # fields that are not set are empty
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _kept_in(graph)


def _upstream(model: onnx.ModelProto, tensors: tuple[str, ...]) -> list[onnx.NodeProto]:
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
