"""The CPU's INT8 graph: what ONNX Runtime makes of it, and how near it stays to float32."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from edged.core.errors import DataError
from edged.core.types import Floats
from provisioning.quantize.calibration import SAMPLE, TAIL, measure_quantiles
from provisioning.quantize.for_cpu import STEM, for_cpu, quantised_tensors
from provisioning.quantize.placement import head_convolutions


@pytest.fixture(scope="module")
def ranges(network: onnx.ModelProto, blobs: list[Floats]) -> dict[str, tuple[float, float]]:
    found = measure_quantiles(network, quantised_tensors(network), blobs, total=len(blobs))
    return {name: (span.low, span.high) for name, span in found.items()}


@pytest.fixture(scope="module")
def quantised(network: onnx.ModelProto, ranges: dict[str, tuple[float, float]]) -> onnx.ModelProto:
    return for_cpu(network, ranges)


def test_every_convolution_within_becomes_one_integer_kernel(
    network: onnx.ModelProto, quantised: onnx.ModelProto, tmp_path: Path
) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(quantised.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ran = Counter(node.op_type for node in onnx.load(str(tmp_path / "optimised.onnx")).graph.node)
    convolutions = sum(node.op_type == "Conv" for node in network.graph.node)
    within = convolutions - 3 - STEM
    assert (ran["QLinearConv"], ran["QLinearSigmoid"], ran["QLinearMul"]) == (within, within, within)
    assert ran["Conv"] + ran["FusedConv"] + ran["NhwcFusedConv"] == 3 + STEM
    assert ran["QuantizeLinear"] == 1  # after the stem
    assert ran["DequantizeLinear"] <= 3  # before the heads


def test_heads_stay_near_float32(network: onnx.ModelProto, quantised: onnx.ModelProto, blobs: list[Floats]) -> None:
    outputs = []
    for model in (network, quantised):
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs.append([np.concatenate([head.ravel() for head in session.run(None, {"images": b})]) for b in blobs])
    expected, got = (np.concatenate(each) for each in outputs)
    assert np.abs(got - expected).mean() < 0.02
    assert np.corrcoef(got, expected)[0, 1] > 0.98


def test_stem_and_heads_are_left_in_float(network: onnx.ModelProto, quantised: onnx.ModelProto) -> None:
    by_name = {node.name: node for node in quantised.graph.node}
    constants = {tensor.name: tensor for tensor in quantised.graph.initializer}
    stem = [node.name for node in network.graph.node if node.op_type == "Conv"][:STEM]
    for name in (*stem, *head_convolutions(network)):
        assert constants[by_name[name].input[1]].data_type == onnx.TensorProto.FLOAT
    assert [output.name for output in quantised.graph.output] == ["p3", "p4", "p5"]


def test_metadata_is_kept(network: onnx.ModelProto, quantised: onnx.ModelProto) -> None:
    assert quantised.metadata_props == network.metadata_props


def test_tensor_without_a_range_is_refused(network: onnx.ModelProto, ranges: dict[str, tuple[float, float]]) -> None:
    some = dict(list(ranges.items())[:-1])
    with pytest.raises(DataError, match="no calibrated range for 1 tensors"):
        for_cpu(network, some)


def identity() -> onnx.ModelProto:
    shape = [1, 3, None, None]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"], name="n")], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_quantiles_agree_with_numpy_over_frames_and_hold_zero() -> None:
    rng = np.random.default_rng(2)
    shape = (1, 3, 64, 64)
    frames = [rng.normal(5, 1, shape).astype(np.float32), rng.normal(7, 1, shape).astype(np.float32)]
    (span,) = measure_quantiles(identity(), ["x"], frames, total=2).values()
    highest = max(np.quantile(frame, 1 - TAIL, method="higher") for frame in frames)
    assert span.high == pytest.approx(highest, abs=1e-5)
    assert span.low == 0  # else a grey border of zeros could not be said


def test_quantiles_of_large_tensors_come_from_a_sample_of_all_their_parts() -> None:
    frame = np.zeros((1, 3, 600, 600), np.float32)
    assert frame.size > 2 * SAMPLE
    frame[0, 2, -100:] = 3.0
    frame[0, 0, :100] = -2.0
    (span,) = measure_quantiles(identity(), ["x"], [frame], total=1).values()
    assert (span.low, span.high) == (-2.0, 3.0)


def test_quantiles_of_values_that_are_not_finite_are_refused() -> None:
    frame = np.full((1, 3, 8, 8), np.nan, np.float32)
    with pytest.raises(DataError, match="calibration frame 0: tensor x is not finite"):
        measure_quantiles(identity(), ["x"], [frame], total=1)
