"""Places Q/DQ nodes for TensorRT: on input and weights of convolutions, not on outputs.

TensorRT wants symmetric ranges, per tensor for activations and per output channel for weights, and a float bias. All
readers of a tensor share one Q/DQ pair: the skip input of a residual Add is then quantised, its other input is float,
and TensorRT fuses Conv, SiLU and Add. The convolutions of `float_convolutions` compute in float. If a head's input also
feeds a quantised convolution, it is read behind the shared pair: reading it unrounded made the heads' error on real
pictures only 1.6 % smaller, and the fused layer before would need a second output.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edged.core.errors import DataError

_STEM = 2  # first convolutions
_QDQ_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,  # TensorRT rejects the INT32 DequantizeLinear that a quantised bias needs
    "DedicatedQDQPair": False,
    "QDQDisableWeightAdjustForInt32Bias": True,
    "OpTypesToExcludeOutputQuantization": ["Conv"],
}


def float_tail(model: onnx.ModelProto) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of the convolutions that make the outputs, and of all nodes behind them.

    They stay float: INT8 costs most accuracy there, and box values of rewritten families are no probabilities.

    Raises:
        DataError: no convolution leads to an output.
    """
    makers = {output: node for node in model.graph.node for output in node.output if output}
    waiting = [value.name for value in reversed(model.graph.output)]
    convolutions: dict[str, None] = {}
    behind: set[str] = set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in behind or node.name in convolutions:
            continue
        if node.op_type == "Conv":
            convolutions[node.name] = None
        else:
            behind.add(node.name)
            waiting.extend(reversed(node.input))
    if not convolutions:
        raise DataError("no convolution leads to its outputs", remedy="quantise the model.onnx of a bundle")
    return tuple(convolutions), frozenset(behind)


def head_convolutions(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the convolutions that make the outputs.

    Raises:
        DataError: there are none.
    """
    return float_tail(model)[0]


def depthwise_convolutions(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the convolutions with one filter a channel."""
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and len(weights.get(node.input[1], ())) > 1
        and weights[node.input[1]][1] == 1
        and any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    )


def float_convolutions(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the convolutions that stay float: the heads, those with one filter a channel, and there the stem.

    One scale for all channels fits few of them, and nothing sums over channels to even that out: INT8 costs the small
    networks built of such convolutions most of their accuracy (provisioning/README.md), and saves little time, for they
    multiply little.

    Raises:
        DataError: no convolution leads to an output.
    """
    heads, alone = head_convolutions(model), depthwise_convolutions(model)
    stem = [node.name for node in model.graph.node if node.op_type == "Conv"][: _STEM if alone else 0]
    return tuple(dict.fromkeys((*heads, *stem, *alone)))


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a unique name, by which quantisers identify nodes."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    seen: set[str] = set()
    for index, node in enumerate(twin.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)
    return twin


def activations(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the tensors that get Q/DQ, in graph order: inputs of all convolutions but those that stay float.

    Args:
        model: float32, every node with a name.

    Raises:
        DataError: no convolution leads to an output.
    """
    kept = float_convolutions(model)
    inputs = [node.input[0] for node in model.graph.node if node.op_type == "Conv" and node.name not in kept]
    return tuple(dict.fromkeys(inputs))


def with_qdq(model: onnx.ModelProto, thresholds: Mapping[str, float]) -> onnx.ModelProto:
    """Make the INT8 graph for TensorRT.

    Args:
        model: float32, every node with a name, heads `p3`, `p4` and so on.
        thresholds: the largest magnitude that INT8 represents, > 0, for each tensor of `activations`.

    Returns:
        A copy with QuantizeLinear/DequantizeLinear pairs, every zero point 0; it passes `onnx.checker`.

    Raises:
        DataError: a tensor has no threshold, or no convolution leads to an output.
    """
    return quantised(
        model,
        {name: (-value, value) for name, value in thresholds.items()},
        tensors=activations(model),
        kept=float_convolutions(model),
        operators=("Conv",),
        activation_type=QuantType.QInt8,
        options=_QDQ_OPTIONS,
    )


def quantised(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    *,
    tensors: Sequence[str],
    kept: Sequence[str],
    operators: Sequence[str],
    activation_type: QuantType,
    options: Mapping[str, object],
) -> onnx.ModelProto:
    """A copy with Q/DQ nodes by ONNX Runtime's quantiser; weights are signed, per output channel.

    Args:
        model: float32, every node with a name.
        ranges: (low, high) that 8 bits represent, by tensor.
        tensors: names of the tensors that need a range.
        kept: names of the nodes that stay float.
        operators: types of the nodes that are quantised.
        activation_type: signed or unsigned 8 bits.
        options: `extra_options` of ONNX Runtime's QDQQuantizer.

    Returns:
        The copy; it passes `onnx.checker`.

    Raises:
        DataError: a tensor has no range.
    """
    missing = [name for name in tensors if name not in ranges]
    if missing:
        raise DataError(f"no calibrated range for {len(missing)} tensors, e.g. {missing[0]}", remedy="calibrate again")
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    spans = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        twin,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=activation_type,
        tensors_range=TensorsData(CalibrationMethod.MinMax, spans),
        nodes_to_quantize=[],
        nodes_to_exclude=list(kept),
        op_types_to_quantize=list(operators),
        extra_options=dict(options),
    )
    quiet = logging.getLogger()
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # the quantiser logs advice through the root logger
    try:
        quantizer.quantize_model()
    finally:
        quiet.setLevel(level)
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(made)
    return made
