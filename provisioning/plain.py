"""Brings graphs of different exporters into one plain form: float32, any batch size, no arithmetic on shapes.

Exporters write the same network in different ways: `--half` in FP16, `--simplify` and torch's newer exporter with the
shapes of one picture as constants, the older one with nodes that compute them. Quantisers, FP16 typing and TensorRT
need the plain form. No step here changes what the graph computes; the importer checks it by running both graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper, version_converter

from edged.cpu.session import open_session
from provisioning.rewriting import Values, drop_unused, reads, rename_tensors, sort_nodes, stored_constants

__all__ = ["at_opset", "in_float32", "reads", "sort_nodes", "without_shape_arithmetic"]

_RANK = 4
_OF_SIZES = {"axes", "keep_aspect_ratio_policy"}  # attributes without meaning where every axis has a scale
_AXES_ARE_INPUTS = 18  # from this opset on, of these; of ReduceSum from 13 on
_AXES_WERE_ATTRIBUTES = frozenset({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"})
_FIRST_ROI_OPSET = 11  # before it, the second input of Resize is `scales`


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
        model: has one input (B, C, H, W) of fixed C, H, W; it is run once to see the shapes.
        batch: a batch size that the model accepts.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    constants = stored_constants(twin.graph)
    nodes = [node for node in twin.graph.node if _depends_on_shapes(node, constants)]
    if nodes:
        shapes = _shapes(model, {name for node in nodes for name in (node.input[0], node.output[0])}, batch)
        for node in nodes:
            _mend(twin, node, shapes[node.input[0]], shapes[node.output[0]], constants)
        drop_unused(twin.graph)
    return twin


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


def _depends_on_shapes(node: onnx.NodeProto, constants: Mapping[str, Values]) -> bool:
    """Whether a node has a constant target shape, computed scales, a target size, or scales for some axes only."""
    given = [name for name in node.input[1:] if name]
    if node.op_type == "Reshape":
        return bool(given) and given[0] in constants
    if node.op_type == "Resize":
        told = len(node.input) > 3 or any(name not in constants for name in given)  # noqa: PLR2004 (X, roi, scales, sizes)
        return told or any(attribute.name == "axes" for attribute in node.attribute)
    return False


def _shapes(model: onnx.ModelProto, tensors: Iterable[str], batch: int) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors, found by running the model once on zeros."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = sorted(tensors)
    sizes = [f"{name}/Shape" for name in names]
    probe.graph.node.extend(helper.make_node("Shape", [name], [size]) for name, size in zip(names, sizes, strict=True))
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(size, TensorProto.INT64, [None]) for size in sizes)
    session = open_session(probe.SerializeToString(), threads=1, where="the model, to see its shapes,")
    weights = {tensor.name for tensor in model.graph.initializer}
    picture = next(value for value in model.graph.input if value.name not in weights)
    sides = [dim.dim_value for dim in picture.type.tensor_type.shape.dim][1:]
    got = session.run(sizes, {picture.name: np.zeros((batch, *sides), np.float32)})
    return {name: tuple(map(int, np.asarray(shape))) for name, shape in zip(names, got, strict=True)}


def _mend(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    taken: Sequence[int],
    given: Sequence[int],
    constants: Mapping[str, Values],
) -> None:
    """Make one node independent of sizes, where that is exact: `taken` and `given` are its input and output shape."""
    name = f"{node.output[0]}/edged"
    if node.op_type == "Resize":
        if len(taken) != _RANK or any(after % before for before, after in zip(taken, given, strict=True)):
            return
        scales = np.array([after // before for before, after in zip(taken, given, strict=True)], np.float32)
        model.graph.initializer.append(numpy_helper.from_array(scales, name))
        opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
        node.input[1:] = [node.input[1], name] if opset >= _FIRST_ROI_OPSET else [name]
        kept = [attribute for attribute in node.attribute if attribute.name not in _OF_SIZES]
        del node.attribute[:]
        node.attribute.extend(kept)
        return
    shape = constants[node.input[1]].copy()
    zeros_are_sizes = any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute)
    if len(shape) > 1 and taken and shape[0] == taken[0] and not zeros_are_sizes:
        shape[0] = 0  # the batch size of the input
        model.graph.initializer.append(numpy_helper.from_array(shape, name))
        node.input[1] = name


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
