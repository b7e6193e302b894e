"""Brings graphs of different exporters into one plain form: float32, any batch size, no arithmetic on shapes.

Exporters write the same network in different ways: `--half` in FP16, `--simplify` and torch's newer exporter with the
shapes of one picture as constants, the older one with nodes that compute them. Quantisers, FP16 typing and TensorRT
need the plain form. No step here changes what the graph computes; the importer checks it by running both graphs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper, version_converter

from provisioning.graphs.batch_nodes import Freeing
from provisioning.graphs.rewriting import Values, reads, rename_tensors, sort_nodes, stored_constants

__all__ = ["at_opset", "in_float32", "of_bundle", "reads", "sort_nodes", "without_shape_arithmetic"]

_AXES_ARE_INPUTS = 18  # from this opset on, of these; of ReduceSum from 13 on
_AXES_WERE_ATTRIBUTES = frozenset({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"})


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every FP16 input, output, weight and cast is float32; the weights keep their values."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    if _widen(twin.graph):
        del twin.graph.value_info[:]
        _drop_idle_casts(twin)
    return twin


def without_shape_arithmetic(model: onnx.ModelProto, *, batch: int = 1) -> onnx.ModelProto:
    """A copy in which `Resize` has constant scales and `Reshape` works with any batch size.

    Args:
        model: has one input (B, C, H, W) of fixed C, H, W.
        batch: a batch size that the model accepts.

    Raises:
        DataError: a node takes this batch size only.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    picture = next(value for value in model.graph.input if value.name not in weights)
    sides = [dim.dim_value for dim in picture.type.tensor_type.shape.dim][1:]
    freeing = Freeing(model, picture.name, (batch, *sides))
    freeing.mend_nodes()
    return freeing.finish()


def of_bundle(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model of a bundle without arithmetic on shapes, which bundles of earlier releases may have.

    What has none is returned as it is: mending it a second time could take an axis for another.
    """
    return without_shape_arithmetic(model) if any(node.op_type == "Shape" for node in model.graph.node) else model


def at_opset(model: onnx.ModelProto, opset: int, *, ir_version: int) -> onnx.ModelProto:
    """The same graph at another opset and IR version; unchanged if that is not possible.

    Quantisers need 13 or later, TensorRT 8.5 reads no later than 17.
    """
    current = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    try:
        made = version_converter.convert_version(model, opset) if current < opset else _lowered(model, current, opset)
        made.ir_version = ir_version
        onnx.checker.check_model(made, full_check=True)
    except Exception:  # noqa: BLE001 - the converter's and the checker's errors share no base below Exception
        return model
    return made


def _widen(graph: onnx.GraphProto) -> bool:
    """FP16 -> float32 in place, in subgraphs too. Returns whether there was any."""
    found = False
    for tensor in graph.initializer:
        found |= _widen_tensor(tensor)
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.FLOAT16:
            kind.elem_type, found = TensorProto.FLOAT, True
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                found |= _widen_tensor(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                found |= _widen(attribute.g)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i, found = TensorProto.FLOAT, True
    return found


def _widen_tensor(tensor: TensorProto) -> bool:
    if tensor.data_type != TensorProto.FLOAT16:
        return False
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    return True


def _drop_idle_casts(model: onnx.ModelProto) -> None:
    """Remove, in place, the casts from float32 to float32 that widening leaves."""
    typed = onnx.shape_inference.infer_shapes(model).graph
    floats = {
        value.name
        for value in (*typed.value_info, *typed.input)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    idle = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Cast"
        and node.input[0] in floats
        and helper.get_node_attr_value(node, "to") == TensorProto.FLOAT
    }
    kept = [node for node in model.graph.node if node.output[0] not in idle]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    rename_tensors(model.graph, idle)


def _lowered(model: onnx.ModelProto, current: int, opset: int) -> onnx.ModelProto:
    """A copy at an older opset, without attributes that it does not know and that have their default value.

    Raises:
        ValueError: an attribute that the older opset does not know has another value, or axes are computed.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    constants = stored_constants(twin.graph)
    for node in twin.graph.node:
        if node.op_type in _AXES_WERE_ATTRIBUTES and opset < _AXES_ARE_INPUTS:
            _tell_axes_by_attribute(node, constants)
        old, new = (onnx.defs.get_schema(node.op_type, version, "") for version in (opset, current))
        kept = []
        for attribute in node.attribute:
            if attribute.name in old.attributes:
                kept.append(attribute)
            elif helper.get_attribute_value(attribute) != helper.get_attribute_value(
                new.attributes[attribute.name].default_value
            ):
                raise ValueError(f"{node.op_type} has {attribute.name}")
        del node.attribute[:]
        node.attribute.extend(kept)
    for entry in twin.opset_import:
        if entry.domain in {"", "ai.onnx"}:
            entry.version = opset
    return twin


def _tell_axes_by_attribute(node: onnx.NodeProto, constants: Mapping[str, Values]) -> None:
    """Give a reduction its axes as older opsets want them, in place."""
    if len(node.input) < 2 or not node.input[1]:  # noqa: PLR2004 (data, axes)
        return
    if node.input[1] not in constants:
        raise ValueError(f"{node.op_type} computes its axes")
    axes = [int(axis) for axis in constants[node.input[1]].reshape(-1)]
    del node.input[1]
    node.attribute.append(helper.make_attribute("axes", axes))
