"""Makes the FP16 graph of a `list` model for strongly typed TensorRT networks; its rows stay float32.

These graphs hold many operators, and some suffer in FP16: box coordinates (steps of half a pixel from 512 on) and
normalisation by squares. So FP16 begins at the matrix products and convolutions, where the time goes, and flows on
through operators that are safe in it; whatever else there is computes in float32 as before.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edged.core.errors import DataError

_HEAVY = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
# In FP16 where everything that they read is.
_LIGHT = frozenset(
    (
        "Add", "AveragePool", "BatchNormalization", "Concat", "Expand", "Flatten", "Gather", "Gelu",
        "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Mul", "Pad", "Relu",
        "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Sub", "Tanh", "Transpose",
        "Unsqueeze",
    )
)  # fmt: skip
_FLOAT32_INPUTS = {"Resize": (1, 2)}  # roi and scales are float32 by definition
_HALF_MAX = float(np.finfo(np.float16).max)


def with_fp16_inside(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that takes FP16 pictures, computes in FP16 where that is safe, and gives float32 rows.

    Args:
        model: float32, with the output `rows`.

    Returns:
        The typed graph; it passes `onnx.checker` and strict shape inference.

    Raises:
        DataError: the graph has branches or loops, or the type of a tensor cannot be told.
    """
    plain = onnx.shape_inference.infer_shapes(_with_weights_only(model))
    typed = _Typing(plain).model
    onnx.checker.check_model(typed)
    return onnx.shape_inference.infer_shapes(typed, check_type=True, strict_mode=True)


def _with_weights_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose Constant nodes are weights."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    for node in list(twin.graph.node):
        values = [each.t for each in node.attribute if node.op_type == "Constant" and each.name == "value"]
        if values:
            values[0].name = node.output[0]
            twin.graph.initializer.append(values[0])
            twin.graph.node.remove(node)
    return twin


class _Typing:
    """Rewrites a copy of the graph node by node; a tensor in the other type is made once, where it is first read."""

    def __init__(self, plain: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(plain)
        graph = self.model.graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._floats = _float_tensors(graph)
        self._half: set[str] = set()  # those that are FP16
        self._other: dict[str, str] = {}  # a tensor's name in the other type
        for entry in graph.input:
            if entry.name in self._floats:
                entry.type.tensor_type.elem_type = TensorProto.FLOAT16
                self._half.add(entry.name)
        tail = _tail(graph)
        nodes = [each for node in list(graph.node) for each in self._typed(node, in_tail=node.output[0] in tail)]
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)
        used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        left = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(left)

    def _typed(self, node: onnx.NodeProto, *, in_tail: bool) -> Iterator[onnx.NodeProto]:
        """The node with its inputs in the type that it computes in, after the casts that this needs."""
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise DataError(f"cannot type {node.op_type} as FP16, as it holds a graph", remedy="use precision fp32")
        half = not in_tail and self._is_half(node)
        kept = _FLOAT32_INPUTS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            wants_half = half and index not in kept
            if name in self._floats and (name in self._half) != wants_half:
                if name not in self._other:
                    yield from self._made(name, half=wants_half)
                node.input[index] = self._other[name]
        self._half.update(name for name in node.output if half and name in self._floats)
        yield node

    def _is_half(self, node: onnx.NodeProto) -> bool:
        kept = _FLOAT32_INPUTS.get(node.op_type, ())
        read = [name for index, name in enumerate(node.input) if name in self._floats and index not in kept]
        weights = [numpy_helper.to_array(self._weights[name]) for name in read if name in self._weights]
        if any(array.size and not np.abs(array).max() <= _HALF_MAX for array in weights):
            return False
        values = [name for name in read if name not in self._weights]
        return node.op_type in _HEAVY or (
            node.op_type in _LIGHT and bool(values) and all(name in self._half for name in values)
        )

    def _made(self, name: str, *, half: bool) -> Iterator[onnx.NodeProto]:
        """Make a tensor in the other type: a weight as a second weight, anything else by a cast."""
        self._other[name] = other = f"{name}_{'fp16' if half else 'fp32'}"
        if name in self._weights:
            values = numpy_helper.to_array(self._weights[name]).astype(np.float16)
            self.model.graph.initializer.append(numpy_helper.from_array(values, other))
            return
        yield helper.make_node("Cast", [name], [other], to=TensorProto.FLOAT16 if half else TensorProto.FLOAT)


def _float_tensors(graph: onnx.GraphProto) -> set[str]:
    """Names of the float32 tensors."""
    entries = (*graph.input, *graph.value_info, *graph.output)
    types = {entry.name: entry.type.tensor_type.elem_type for entry in entries}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    unknown = [name for node in graph.node for name in node.output if name and not types.get(name)]
    if unknown:
        raise DataError(f"cannot tell the type of {unknown[0]}, so not type it as FP16", remedy="use precision fp32")
    return {name for name, kind in types.items() if kind == TensorProto.FLOAT}


def _tail(graph: onnx.GraphProto) -> set[str]:
    """First outputs of the nodes behind the last matrix products, up to and with the one that makes the rows."""
    makers = {name: node for node in graph.node for name in node.output}
    outputs = {output.name for output in graph.output}
    found: set[str] = set()
    left = list(outputs)
    while left:
        name = left.pop()
        node = makers.get(name)
        if node is None or node.output[0] in found or (node.op_type in _HEAVY and name not in outputs):
            continue
        found.add(node.output[0])
        left.extend(node.input)
    return found
