"""Where Q/DQ nodes go: on the input and the weights of every convolution but the heads', none on outputs.

The rules are TensorRT's for convolutional networks: symmetric, activations per tensor, weights per output channel, bias
left float. A tensor has one pair that all its readers share, so the skip input of a residual Add is quantised while its
other input stays float and Conv, SiLU and Add fuse. The heads' convolutions compute in float; where their input also
feeds a quantised convolution they read the shared pair (giving them the unrounded tensor made the heads' error on
real pictures 1.6 % smaller, and would cost TensorRT a second output of the fused layer before).
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

_QDQ_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,  # TensorRT rejects the INT32 DequantizeLinear that a quantised bias needs
    "DedicatedQDQPair": False,
    "QDQDisableWeightAdjustForInt32Bias": True,
    "OpTypesToExcludeOutputQuantization": ["Conv"],
}


def head_convolutions(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the convolutions that make the outputs: they stay float, INT8 there costs most accuracy.

    Raises:
        DataError: an output is not a Sigmoid of a convolution.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    names = []
    for output in model.graph.output:
        sigmoid = makers.get(output.name)
        conv = makers.get(sigmoid.input[0]) if sigmoid is not None and sigmoid.op_type == "Sigmoid" else None
        if conv is None or conv.op_type != "Conv":
            raise DataError(
                f"output {output.name} is no Sigmoid of a Conv", remedy="quantise the model.onnx of a bundle"
            )
        names.append(conv.name)
    return tuple(names)


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own: quantisers tell nodes apart by it."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    seen: set[str] = set()
    for index, node in enumerate(twin.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)
    return twin


def activations(model: onnx.ModelProto) -> tuple[str, ...]:
    """The tensors that get Q/DQ, in graph order: inputs of all convolutions but the heads'.

    Args:
        model: with named nodes.
    """
    heads = head_convolutions(model)
    inputs = [node.input[0] for node in model.graph.node if node.op_type == "Conv" and node.name not in heads]
    return tuple(dict.fromkeys(inputs))


def with_qdq(model: onnx.ModelProto, thresholds: Mapping[str, float]) -> onnx.ModelProto:
    """The INT8 graph.

    Args:
        model: float32, named nodes, heads `p3 p4 p5`.
        thresholds: per tensor of `activations`, the largest magnitude that INT8 represents, > 0.

    Returns:
        A copy with QuantizeLinear/DequantizeLinear pairs, every zero point 0; it passes `onnx.checker`.

    Raises:
        DataError: a tensor without a threshold.
    """
    return quantised(
        model,
        {name: (-value, value) for name, value in thresholds.items()},
        tensors=activations(model),
        kept=head_convolutions(model),
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
    """A copy with Q/DQ by ONNX Runtime's quantiser, weights signed and per output channel; it passes `onnx.checker`.

    Args:
        model: float32, named nodes.
        ranges: per tensor, the smallest and the largest value that 8 bits represent.
        tensors: that need a range.
        kept: names of the nodes that stay float.
        operators: types of those that do not.
        activation_type: signed or not.
        options: of the quantiser.

    Raises:
        DataError: a tensor without a range.
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
    quiet.setLevel(logging.ERROR)  # it logs advice through the root logger
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
