"""Makes the INT8 graph for ONNX Runtime on a CPU: 8 bits except for the first two convolutions and the heads.

ONNX Runtime wants unsigned activations with a zero point, signed weights per output channel, an INT32 bias, and a Q/DQ
pair on every input and output; each convolution, sigmoid and multiplication then becomes one integer kernel. TensorRT
wants symmetric activations, a float bias and no Q/DQ on outputs (placement.py), so each runtime has its own graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType

from provisioning.quantize.placement import float_tail, quantised

OPERATORS = ("Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize")
STEM = 2  # first convolutions, which stay float: in 8 bits they cost accuracy and save no time (provisioning/README.md)
_PICTURES = {"Resize": 1}  # number of inputs that are activations, where not all are
_QDQ_OPTIONS = {
    "ActivationSymmetric": False,
    "WeightSymmetric": True,
    "QuantizeBias": True,
    "DedicatedQDQPair": False,
    "ForceQuantizeNoInputCheck": True,
}


def quantised_tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the activations that become 8 bits, in graph order: what the quantised operators read and write.

    Args:
        model: float32, every node with a name.

    Raises:
        DataError: no convolution leads to an output.
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
    """Make the INT8 graph.

    Args:
        model: float32, every node with a name, heads `p3`, `p4` and so on.
        ranges: (low, high) that 8 bits represent, for each tensor of `quantised_tensors`; low <= 0 <= high.

    Returns:
        A copy with QuantizeLinear/DequantizeLinear pairs; it passes `onnx.checker`.

    Raises:
        DataError: a tensor has no range, or no convolution leads to an output.
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
    """Names of the nodes that stay float.

    These are the stem, the heads (a box in 8 bits is wrong by pixels), and nodes that compute shapes.
    """
    nodes = model.graph.node
    heads, behind = float_tail(model)
    convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    stem = {node.name for node in nodes[: convolutions[STEM]]} if len(convolutions) > STEM else set()
    typed = onnx.shape_inference.infer_shapes(model).graph.value_info
    others = {value.name for value in typed if value.type.tensor_type.elem_type != TensorProto.FLOAT}
    shapes = {node.name for node in nodes if others & set(node.output)}
    return {*heads, *behind, *stem, *shapes}
