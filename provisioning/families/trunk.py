"""The part of a graph that is kept, in the form of our own exports: opset, input, preprocessing in front."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from edged.core.errors import DataError
from provisioning.cut.graph import upstream
from provisioning.export import FREE_BATCH, INPUT, IR_VERSION, OPSET
from provisioning.families.pixels import COLOURS, Pixels
from provisioning.graphs.plain import at_opset, without_shape_arithmetic
from provisioning.graphs.rewriting import reads

_PICTURE = "edged/picture"  # what the network read before
_MAP_RANK = 4


def kept_trunk(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    *,
    picture: str,
    input_wh: tuple[int, int],
    batch: int,
    fixed: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """The nodes that lead from the picture to some tensors, which become the outputs.

    Args:
        model: float32, nodes in order; not changed.
        tensors: names.
        picture: name of the input.
        input_wh: network input (width, height), pixels.
        batch: a batch size that it accepts.
        fixed: values of other inputs.

    Returns:
        A model at `OPSET`, without arithmetic on shapes; `prepend` gives it its input.

    Raises:
        DataError: its operators cannot be brought to that opset.
    """
    nodes = upstream(model, tuple(tensors))
    needed = {name for node in nodes for name in reads(node)} | set(tensors)
    for node in nodes:
        node.input[:] = [_PICTURE if name == picture else name for name in node.input]
    width, height = input_wh
    graph = helper.make_graph(
        nodes,
        "edged",
        [helper.make_tensor_value_info(_PICTURE, TensorProto.FLOAT, [FREE_BATCH, COLOURS, height, width])],
        [_output(model, name) for name in tensors],
        initializer=[*(tensor for tensor in model.graph.initializer if tensor.name in needed), *fixed],
    )
    opsets = [opset for opset in model.opset_import if opset.domain in {"", "ai.onnx"}]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edged")
    made = at_opset(made, OPSET, ir_version=IR_VERSION)
    version = next(entry.version for entry in made.opset_import if entry.domain in {"", "ai.onnx"})
    if version != OPSET:
        raise DataError(
            f"its operators of opset {version} cannot be brought to opset {OPSET}",
            remedy=f"export it again with opset={OPSET}",
        )
    return without_shape_arithmetic(made, batch=batch)


def prepend(graph: onnx.GraphProto, pixels: Pixels) -> None:
    """Make `images`, RGB of 0..1, the input, in place."""
    graph.input[0].name = INPUT
    if not pixels.unchanged:
        pixels.put_before(graph, given=INPUT, wanted=_PICTURE)
        return
    for node in graph.node:
        node.input[:] = [INPUT if name == _PICTURE else name for name in node.input]


def _output(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """As the graph declares it; an inner tensor is a map (B, C, H, W) of float."""
    declared = next((value for value in model.graph.output if value.name == name), None)
    return declared or helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * _MAP_RANK)
