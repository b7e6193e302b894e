"""Makes the FP16 graph for strongly typed TensorRT networks, which compute in the types of the graph.

TensorRT 11 has no builder flags for precision, and 10.12 deprecates them; older versions take the float32 graph and a
flag. Input and heads are FP16, too: our kernels write and read it, and it halves the bytes that they move.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper, version_converter

from edged.core.errors import DataError
from provisioning.graphs.plain import of_bundle

OPSET = 19  # the first in which the scales of Q/DQ may be FP16
# The operators of detectors; all of them compute in the type of their inputs.
_OPERATORS = frozenset(
    (
        "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Constant", "Conv", "ConvTranspose",
        "DequantizeLinear", "Div", "Exp", "Flatten", "Gather", "GlobalAveragePool", "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "MatMul", "Max", "MaxPool", "Mul", "Pad", "QuantizeLinear", "ReduceMax", "ReduceMean",
        "ReduceSum", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub",
        "Tanh", "Transpose", "Unsqueeze",
    )
)  # fmt: skip
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
_SMALLEST_SCALE = float(np.finfo(np.float16).tiny)  # smaller scales lose precision or become 0, a division by 0
_FLOAT32_INPUTS = {"Resize": (1, 2)}  # roi and scales are float32 by definition


def with_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose inputs, outputs and computation are FP16, at opset 19.

    Args:
        model: float32, with or without Q/DQ, heads as outputs.

    Returns:
        The typed graph; it passes `onnx.checker` and strict shape inference.

    Raises:
        DataError: an operator that is not supported in FP16 here, or a weight beyond FP16's range.
    """
    model = of_bundle(model)
    strange = sorted({node.op_type for node in model.graph.node} - _OPERATORS)
    if strange:
        raise DataError(f"cannot type {', '.join(strange)} as FP16", remedy="use precision fp32 or int8")
    typed: onnx.ModelProto = version_converter.convert_version(model, OPSET)
    del typed.graph.value_info[:]  # the float32 types
    _convert_constants(typed.graph)
    for border in (*typed.graph.input, *typed.graph.output):
        border.type.tensor_type.elem_type = TensorProto.FLOAT16
    del typed.metadata_props[:]
    typed.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(typed)
    return onnx.shape_inference.infer_shapes(typed, check_type=True, strict_mode=True)


def _convert_constants(graph: onnx.GraphProto) -> None:
    """Convert float32 weights, biases and scales to FP16, in place, except those that ONNX defines as float32."""
    kept = {
        node.input[index]
        for node in graph.node
        for index in _FLOAT32_INPUTS.get(node.op_type, ())
        if index < len(node.input)
    }
    scales = {node.input[1] for node in graph.node if node.op_type in _QUANTISERS}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_as_fp16(tensor, smallest=_SMALLEST_SCALE if tensor.name in scales else None))
    for node in graph.node:
        if node.op_type != "Constant" or node.output[0] in kept:
            continue
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(_as_fp16(attribute.t))


def _as_fp16(tensor: TensorProto, *, smallest: float | None = None) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    if smallest is not None:
        values = np.maximum(values, np.float32(smallest))
    if values.size and not np.abs(values).max() <= np.finfo(np.float16).max:
        raise DataError(f"{tensor.name} holds values beyond FP16's range", remedy="use precision fp32")
    return numpy_helper.from_array(values.astype(np.float16), tensor.name)
