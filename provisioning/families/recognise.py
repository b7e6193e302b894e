"""Says by its structure whether a graph is a dense detector without anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from edged.core.errors import DataError
from provisioning.cut.graph import Picture
from provisioning.families.maps import Level, TensorShapes, find_levels
from provisioning.families.pixels import COLOURS
from provisioning.graphs.shapes import Shapes

_BOX_AND_CLASSES, _WITH_OBJECTNESS = 2, 3
_DFL_CHANNELS, _MASKS = 64, 32  # of YOLOv8's heads


@dataclass(frozen=True, slots=True)
class DenseGraph:
    """A graph whose heads make boxes and classes by maps of their own.

    Attributes:
        model: with a picture of fixed size.
        levels: its maps.
        shapes: of its tensors.
        rounded: it was made from a quantised graph, whose numbers are rounded.
    """

    model: onnx.ModelProto
    levels: Sequence[Level]
    shapes: TensorShapes
    rounded: bool = False


def dense_graph(
    model: onnx.ModelProto, picture: Picture, *, input_wh: tuple[int, int], rounded: bool = False
) -> DenseGraph | None:
    """Look at the maps of a graph.

    Args:
        model: float32, nodes in order; not changed.
        picture: its input.
        input_wh: network input (width, height), pixels.
        rounded: it was made from a quantised graph.

    Returns:
        None for other detectors, such as YOLOv5, whose heads are one map each.

    Raises:
        DataError: it does not run on a picture of this size, or its heads give more than boxes and classes.
    """
    sized = _with_size(model, picture, input_wh)
    shapes = _shapes(sized, picture, input_wh)
    levels = find_levels(sized, shapes, input_wh=input_wh)
    _refuse_other_tasks(levels)
    counts = {len(level.pieces) for level in levels}
    if counts not in ({_BOX_AND_CLASSES}, {_WITH_OBJECTNESS}) or len(levels) == 1:
        return None
    return DenseGraph(sized, levels, shapes, rounded)


def _shapes(model: onnx.ModelProto, picture: Picture, input_wh: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that follows from the picture's."""
    seen = Shapes(model, {picture.name: (picture.batch, COLOURS, *input_wh[::-1])})
    for node in model.graph.node:
        try:
            seen.follow(node)
        except ValueError as exc:
            raise DataError(
                f"does not fit a picture of {input_wh[0]}x{input_wh[1]}, at node {node.name or node.output[0]}: {exc}",
                remedy="give the size that it was exported for: --size",
            ) from exc
    return seen.shapes


def _refuse_other_tasks(levels: Sequence[Level]) -> None:
    """Name models of YOLOv8's kind that give something else for each cell, beside box and classes."""
    for level in levels:
        widths = [piece.channels for piece in level.pieces]
        if len(widths) != _WITH_OBJECTNESS or widths[0] != _DFL_CHANNELS:
            continue
        extra = widths[-1]
        if extra == 1:
            task = "oriented boxes: an angle"
        elif extra == _MASKS and any(len(other.pieces) == 1 for other in levels):
            task = f"segmentation: {extra} mask coefficients"
        else:
            task = f"poses or the like: {extra} values"
        raise DataError(
            f"a model for {task} for each cell, beside 4 distributions of 16 for the box, and the classes",
            remedy="export the detection model: boxes and classes are what edged reports",
        )


def _with_size(model: onnx.ModelProto, picture: Picture, input_wh: tuple[int, int]) -> onnx.ModelProto:
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    sides = next(value for value in twin.graph.input if value.name == picture.name).type.tensor_type.shape.dim
    sides[3].dim_value, sides[2].dim_value = input_wh
    return twin
