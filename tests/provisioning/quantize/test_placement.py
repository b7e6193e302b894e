"""Where Q/DQ sits, checked on a real YOLOv5 graph and against ONNX Runtime's whole static quantisation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from torch import nn

from edged.core.errors import DataError
from edged.core.types import Floats
from provisioning.quantize.calibration import measure_ranges, thresholds
from provisioning.quantize.placement import activations, head_convolutions, named, with_qdq
from tests.handmade import square_model
from tests.provisioning.yolo_exports import exported


@pytest.fixture(scope="module")
def chosen(network: onnx.ModelProto, blobs: list[Floats]) -> dict[str, float]:
    return thresholds("minmax", measure_ranges(network, blobs, total=len(blobs)), {})


@pytest.fixture(scope="module")
def quantised(network: onnx.ModelProto, chosen: dict[str, float]) -> onnx.ModelProto:
    return with_qdq(network, chosen)


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in model.graph.node for output in node.output}


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray[Any, Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_head_convolutions_are_the_last_three(network: onnx.ModelProto) -> None:
    assert len(head_convolutions(network)) == 3
    by_name = {node.name: node for node in network.graph.node}
    assert all(by_name[name].op_type == "Conv" for name in head_convolutions(network))


def test_every_convolution_but_the_heads_has_quantised_input_and_weights(quantised: onnx.ModelProto) -> None:
    made_by, values = makers(quantised), constants(quantised)
    heads = head_convolutions(quantised)
    convolutions = [node for node in quantised.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 17
    for node in convolutions:
        sources = [made_by.get(name) for name in node.input[:2]]
        if node.name in heads:
            assert sources[1] is None  # weights are a float constant
            continue
        assert all(source is not None and source.op_type == "DequantizeLinear" for source in sources)
        assert node.input[2] in values  # the bias stays a float constant
        weight_scale = values[sources[1].input[1]]  # type: ignore[union-attr]
        axis = [entry.i for entry in sources[1].attribute if entry.name == "axis"]  # type: ignore[union-attr]
        weights = made_by[sources[1].input[0]].input[0]  # type: ignore[union-attr]
        assert (axis, weight_scale.shape) == ([0], (values[weights].shape[0],))


def test_networks_of_convolutions_with_one_filter_a_channel_keep_these_and_the_stem_in_float() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.Conv2d(16, 16, 3, 1, 1, groups=4),  # four channels each: quantised
        nn.Conv2d(16, 6, 1),
    )
    network = named(onnx.load_from_string(exported(module, input_wh=(32, 32), opset=17)))
    inputs = [node.input[0] for node in network.graph.node if node.op_type == "Conv"]
    assert activations(network) == (inputs[3], inputs[4])
    made = with_qdq(network, dict.fromkeys(activations(network), 1.0))
    made_by = makers(made)
    float_inputs = [
        node.input[0] in inputs or node.input[0] == "images" for node in made.graph.node if node.op_type == "Conv"
    ]
    assert float_inputs == [True, True, True, False, False, True]
    weights = [made_by.get(node.input[1]) for node in made.graph.node if node.op_type == "Conv"]
    assert [each is None for each in weights] == [True, True, True, False, False, True]


def test_quantisation_is_symmetric_everywhere(quantised: onnx.ModelProto) -> None:
    values = constants(quantised)
    pairs = [node for node in quantised.graph.node if node.op_type in {"QuantizeLinear", "DequantizeLinear"}]
    assert pairs
    for node in pairs:
        scale, zero = values[node.input[1]], values[node.input[2]]
        assert (scale > 0).all()
        assert scale.dtype == np.float32
        assert zero.dtype == np.int8
        assert not zero.any()


def test_activation_scales_are_the_thresholds(quantised: onnx.ModelProto, chosen: dict[str, float]) -> None:
    values = constants(quantised)
    scales = {
        node.input[0]: float(values[node.input[1]])
        for node in quantised.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in chosen
    }
    assert scales == pytest.approx({name: value / 127 for name, value in chosen.items()}, rel=5e-3)


def test_residual_adds_have_only_their_skip_input_quantised(quantised: onnx.ModelProto) -> None:
    made_by = makers(quantised)
    adds = [node for node in quantised.graph.node if node.op_type == "Add"]
    assert adds
    for node in adds:
        kinds = sorted(made_by[name].op_type == "DequantizeLinear" for name in node.input)
        assert kinds == [False, True]


def test_outputs_keep_their_names_and_metadata(network: onnx.ModelProto, quantised: onnx.ModelProto) -> None:
    assert quantised.graph.output == network.graph.output
    assert {entry.key for entry in quantised.metadata_props} == {entry.key for entry in network.metadata_props}


def test_int8_graph_runs_and_stays_near_float32(
    network: onnx.ModelProto, quantised: onnx.ModelProto, blobs: list[Floats]
) -> None:
    before, after = (ort.InferenceSession(model.SerializeToString()) for model in (network, quantised))
    for real, rounded in zip(
        before.run(None, {"images": blobs[0]}), after.run(None, {"images": blobs[0]}), strict=True
    ):
        difference = np.abs(np.asarray(real) - np.asarray(rounded))
        assert 0 < difference.mean() < 0.01


def test_with_qdq_gives_equal_bytes_and_leaves_its_input_alone(
    network: onnx.ModelProto, chosen: dict[str, float], quantised: onnx.ModelProto
) -> None:
    before = network.SerializeToString()
    assert with_qdq(network, chosen).SerializeToString() == quantised.SerializeToString()
    assert network.SerializeToString() == before


def test_with_qdq_is_what_onnx_runtimes_static_quantisation_makes(
    network: onnx.ModelProto,
    quantised: onnx.ModelProto,
    blobs: list[Floats],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Floats] = iter(blobs)

        def get_next(self) -> dict[str, Floats] | None:
            blob = next(self.left, None)
            return None if blob is None else {"images": blob}

    onnx.save(network, str(tmp_path / "in.onnx"))
    caplog.set_level(logging.ERROR)  # it logs advice
    quantize_static(
        str(tmp_path / "in.onnx"),
        str(tmp_path / "out.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=list(head_convolutions(network)),
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": ["Conv"],
        },
    )
    reference = onnx.load(str(tmp_path / "out.onnx"))
    ours, theirs = constants(quantised), constants(reference)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name].astype(np.float64), array.astype(np.float64), rtol=5e-3, atol=1e-6)


def test_with_qdq_refuses_a_tensor_without_a_threshold(network: onnx.ModelProto, chosen: dict[str, float]) -> None:
    short = dict(list(chosen.items())[1:])
    with pytest.raises(DataError, match="no calibrated range for 1 tensors"):
        with_qdq(network, short)


def test_head_convolutions_refuses_a_graph_without_any() -> None:
    model = onnx.load_from_string(square_model((64, 64)))
    for output in model.graph.output:
        output.name += "_hidden"
    with pytest.raises(DataError, match="no convolution leads to its outputs"):
        activations(model)
