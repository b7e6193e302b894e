"""Finds the head maps of a dense detector: the last tensors (B, C, H, W) with a place for each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import helper

from edged.core.decode import cells_hw

TensorShapes = Mapping[str, tuple[int, ...]]

STRIDES = (4, 8, 16, 32, 64, 128)
_RANK = 4
_SHAPES_ONLY = frozenset({"Shape", "Size"})  # their outputs do not depend on values
_MOVED = frozenset({"Transpose", "Reshape"})  # make tensors whose last axes are no rows and columns of a map
_THROUGH = frozenset({"Identity", "Cast"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One map of a level, as the network makes it.

    Attributes:
        tensor: its name.
        channels: values for each cell.
        squashed: it is the output of a Sigmoid.
    """

    tensor: str
    channels: int
    squashed: bool


@dataclass(frozen=True, slots=True)
class Level:
    """The maps of one stride, in the order in which the outputs join them.

    Attributes:
        stride: network pixels per cell.
        cells_wh: columns and rows.
        pieces: at least one.
    """

    stride: int
    cells_wh: tuple[int, int]
    pieces: tuple[Piece, ...]


def find_levels(model: onnx.ModelProto, shapes: TensorShapes, *, input_wh: tuple[int, int]) -> tuple[Level, ...]:
    """Follow the graph back from its outputs to the nearest map on every way.

    A map that joins others along its channels counts as those.

    Args:
        model: nodes in order.
        shapes: of every tensor, for a picture of `input_wh`.
        input_wh: network input (width, height), pixels.

    Returns:
        One entry a stride, ascending; empty where no way leads to a map.
    """
    makers = {output: node for node in model.graph.node for output in node.output if output}
    found: dict[int, dict[str, None]] = {}
    waiting, seen = [value.name for value in reversed(model.graph.output)], set[str]()
    while waiting:
        tensor = waiting.pop()
        node = makers.get(tensor)
        if tensor in seen or node is None or node.op_type in _SHAPES_ONLY:
            continue
        seen.add(tensor)
        stride = 0 if node.op_type in _MOVED else stride_of(shapes.get(tensor, ()), input_wh)
        if stride:
            found.setdefault(stride, {}).update(dict.fromkeys(_pieces(tensor, makers, shapes)))
        else:
            waiting.extend(reversed(node.input))
    return tuple(
        Level(
            stride,
            cells_hw(input_wh, stride)[::-1],
            tuple(Piece(name, shapes[name][1], _is_squashed(name, makers)) for name in tensors),
        )
        for stride, tensors in sorted(found.items())
    )


def stride_of(shape: tuple[int, ...], input_wh: tuple[int, int]) -> int:
    """The stride of a map of this shape (B, C, H, W), pixels; 0 where it is none."""
    if len(shape) != _RANK or 0 in shape:
        return 0
    return next((stride for stride in STRIDES if cells_hw(input_wh, stride) == shape[2:]), 0)


def _pieces(tensor: str, makers: Mapping[str, onnx.NodeProto], shapes: TensorShapes) -> list[str]:
    """The maps that a map joins along its channels, or itself."""
    node = makers.get(tensor)
    while node is not None and node.op_type in _THROUGH:
        tensor = node.input[0]
        node = makers.get(tensor)
    if node is None or node.op_type != "Concat" or helper.get_node_attr_value(node, "axis") not in {1, 1 - _RANK}:
        return [tensor]
    if any(shapes[name][2:] != shapes[tensor][2:] for name in node.input):
        return [tensor]
    return [piece for name in node.input for piece in _pieces(name, makers, shapes)]


def _is_squashed(tensor: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    node = makers.get(tensor)
    return node is not None and node.op_type == "Sigmoid"
