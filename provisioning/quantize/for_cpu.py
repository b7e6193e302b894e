"""The INT8 graph for ONNX Runtime on a CPU: 8 bits but for the first two convolutions and the heads'.

The rules are ONNX Runtime's: activations unsigned with a zero point of their own, weights signed and per output
channel, bias INT32, a Q/DQ pair on every input and output, so that each convolution, sigmoid and multiplication becomes
one integer kernel. TensorRT wants the opposite in each of these points (see placement.py): hence a graph of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType

from provisioning.quantize.placement import head_convolutions, quantised

OPERATORS = ("Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize")
STEM = 2  # convolutions at the input that stay float: in 8 bits they cost accuracy and gain no time, see README.md
_PICTURES = {"Resize": 1}  # how many of the inputs hold activations, where not all do
_QDQ_OPTIONS = {
    "ActivationSymmetric": False,
    "WeightSymmetric": True,
    "QuantizeBias": True,
    "DedicatedQDQPair": False,
    "ForceQuantizeNoInputCheck": True,
}


def quantised_tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """The activations that become 8 bits, in graph order: what the quantised operators read and write.

    Args:
        model: with named nodes.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = _kept(model)
    touched = [
        name
        for node in model.graph.node
        if node.op_type in OPERATORS and node.name not in kept
        for name in (*node.input[: _PICTURES.get(node.op_type)], *node.output)
        if name and name not in weights
    ]
    return tuple(dict.fromkeys(touched))


def for_cpu(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]]) -> onnx.ModelProto:
    """The INT8 graph.

    Args:
        model: float32, named nodes, heads `p3 p4 p5`.
        ranges: per tensor of `quantised_tensors`, the smallest and the largest value that 8 bits represent; 0 within.

    Returns:
        A copy with QuantizeLinear/DequantizeLinear pairs; it passes `onnx.checker`.

    Raises:
        DataError: a tensor without a range.
    """
    return quantised(
        model,
        ranges,
        tensors=quantised_tensors(model),
        kept=sorted(_kept(model)),
        operators=OPERATORS,
        activation_type=QuantType.QUInt8,
        options=_QDQ_OPTIONS,
    )


def _kept(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes that stay as they are.

    Those are the stem, the heads, for a box of 8 bits is off by pixels, and what computes with shapes, not activations.
    """
    nodes = model.graph.node
    outputs = {output.name for output in model.graph.output}
    sigmoids = {node.name for node in nodes if outputs & set(node.output)}
    convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    stem = {node.name for node in nodes[: convolutions[STEM]]} if len(convolutions) > STEM else set()
    typed = onnx.shape_inference.infer_shapes(model).graph.value_info
    others = {value.name for value in typed if value.type.tensor_type.elem_type != TensorProto.FLOAT}
    shapes = {node.name for node in nodes if others & set(node.output)}
    return {*head_convolutions(model), *sigmoids, *stem, *shapes}
