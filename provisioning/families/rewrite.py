"""Writes the graph of a dense detector that the daemon runs: the network up to its maps, with grid heads behind."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnxslim
from onnx import TensorProto, helper

from edged.core.decode import BOX_CHANNELS, GridDecode, cells_hw, head_names
from edged.core.errors import DataError
from plugins.yolo_layer.contract import MAX_HEADS
from provisioning.export import FREE_BATCH
from provisioning.families.pixels import Pixels
from provisioning.families.tails import Tail
from provisioning.families.trunk import kept_trunk, prepend
from provisioning.families.understand import Dense

MIN_LEVELS = 2


def grid_decode(dense: Dense, family: str) -> GridDecode:
    """One anchor a cell, as large as its stride."""
    anchors = tuple(((float(level.stride), float(level.stride)),) for level in dense.levels)
    return GridDecode(anchors, tuple(level.stride for level in dense.levels), family)


def with_grid_heads(
    model: onnx.ModelProto, dense: Dense, pixels: Pixels, *, picture: str, input_wh: tuple[int, int], batch: int
) -> onnx.ModelProto:
    """The graph `images` -> `p3`, `p4` and so on, simplified, of free batch size.

    Args:
        model: float32, its picture of fixed size; not changed.
        dense: what its maps mean.
        pixels: what it wants as its picture.
        picture: name of its input.
        input_wh: network input (width, height), pixels.
        batch: a batch size that it accepts.

    Raises:
        DataError: it has another number of levels, or cannot be brought to the opset of our own graphs.
    """
    if not MIN_LEVELS <= len(dense.levels) <= MAX_HEADS:
        raise DataError(f"it has heads of {len(dense.levels)} strides, expected {MIN_LEVELS} to {MAX_HEADS}")
    tensors = [name for level in dense.levels for name in (level.box, level.objectness, level.classes) if name]
    made = kept_trunk(model, tensors, picture=picture, input_wh=input_wh, batch=batch)
    del made.graph.output[:]
    for output, level in zip(head_names(len(dense.levels)), dense.levels, strict=True):
        Tail(made.graph, output).add(level, dense.code, squash=dense.logits)
        shape: Sequence[str | int] = (
            FREE_BATCH,
            BOX_CHANNELS + dense.classes,
            *cells_hw(input_wh, level.stride),
        )
        made.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
    prepend(made.graph, pixels)
    slim: onnx.ModelProto = onnxslim.slim(made)
    return slim
