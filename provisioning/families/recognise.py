"""Says by its structure whether a graph is a dense detector without anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from edged.core.errors import DataError
from edged.cpu.session import open_session
from provisioning.cut.graph import Picture
from provisioning.families.maps import Level, Shapes, find_levels

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
    shapes: Shapes
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
    """The shape of every tensor, found by running the model once on zeros."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    sizes = [f"{name}/Shape" for name in names]
    probe.graph.node.extend(helper.make_node("Shape", [name], [size]) for name, size in zip(names, sizes, strict=True))
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(size, TensorProto.INT64, [None]) for size in sizes)
    try:
        session = open_session(probe.SerializeToString(), threads=1, where="the model")
        got = session.run(sizes, {picture.name: np.zeros((picture.batch, 3, *input_wh[::-1]), np.float32)})
    except DataError:
        raise
    except Exception as exc:  # ONNX Runtime's exceptions share no base below Exception
        raise DataError(
            f"does not run on a picture of {input_wh[0]}x{input_wh[1]}: {' '.join(str(exc).split())[:300]}",
            remedy="give the size that it was exported for: --size",
        ) from exc
    return {name: tuple(map(int, np.asarray(shape))) for name, shape in zip(names, got, strict=True)}


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
