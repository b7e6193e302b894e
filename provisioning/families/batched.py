"""Finds the outputs of a graph before their batch was taken off: some exports squeeze away a batch of one."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper

from provisioning.graphs.rewriting import Values, stored_constants


def with_batched_outputs(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The graph with outputs that keep their batch.

    Args:
        model: nodes in order; not changed.

    Returns:
        The graph, and the name of its output for each one of the original.
    """
    makers = {output: node for node in model.graph.node for output in node.output if output}
    values, names = stored_constants(model.graph), dict[str, str]()
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    for value in twin.graph.output:
        output, shape = value.name, value.type.tensor_type.shape
        while (node := makers.get(value.name)) is not None and _takes_off_the_batch(node, values):
            value.name = node.input[0]
            if node.op_type == "Squeeze":
                kept = list(shape.dim)
                del shape.dim[:]
                shape.dim.extend([onnx.TensorShapeProto.Dimension(), *kept])
        names[output] = value.name
    return twin, names


def _takes_off_the_batch(node: onnx.NodeProto, values: Mapping[str, Values]) -> bool:
    """Whether it is a Squeeze of axis 0, or a Split along it into one part."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type == "Split":
        return len(node.output) == 1 and attributes.get("axis", 0) == 0
    if node.op_type != "Squeeze":
        return False
    axes = attributes.get("axes") if len(node.input) == 1 else values.get(node.input[1])  # an input since opset 13
    return axes is not None and list(axes) == [0]
