"""The FP16 graph: valid, all in FP16 inside, and near float32."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from edged.core.errors import DataError
from edged.core.types import Floats
from provisioning.quantize.calibration import measure_ranges, thresholds
from provisioning.quantize.placement import with_qdq
from provisioning.quantize.typed import with_fp16


@pytest.fixture(scope="module", params=["float", "int8"])
def source(request: pytest.FixtureRequest, network: onnx.ModelProto, blobs: list[Floats]) -> onnx.ModelProto:
    if request.param == "float":
        return network
    return with_qdq(network, thresholds("minmax", measure_ranges(network, blobs, total=len(blobs)), {}))


def half(blob: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    """As our preprocessing kernel hands a picture to an engine of that type."""
    return blob.astype(np.float16)


def test_fp16_graph_stays_near_its_source(source: onnx.ModelProto, blobs: list[Floats]) -> None:
    typed = with_fp16(source)
    before, after = (ort.InferenceSession(model.SerializeToString()) for model in (source, typed))
    for real, rounded in zip(
        before.run(None, {"images": blobs[0]}), after.run(None, {"images": half(blobs[0])}), strict=True
    ):
        assert np.asarray(rounded).dtype == np.float16
        assert np.abs(np.asarray(real) - np.asarray(rounded)).mean() < 4e-3


def test_fp16_graph_computes_in_fp16_only(source: onnx.ModelProto) -> None:
    typed = with_fp16(source)
    assert [entry.version for entry in typed.opset_import] == [19]
    inner = {value.type.tensor_type.elem_type for value in typed.graph.value_info}
    assert TensorProto.FLOAT16 in inner
    assert inner <= {TensorProto.FLOAT16, TensorProto.INT8}
    borders = (*typed.graph.input, *typed.graph.output)
    assert {value.type.tensor_type.elem_type for value in borders} == {TensorProto.FLOAT16}
    assert not [node for node in typed.graph.node if node.op_type == "Cast"]
    scales = {node.input[2] for node in typed.graph.node if node.op_type == "Resize"}
    kept = {tensor.name for tensor in typed.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    assert kept == scales & {tensor.name for tensor in typed.graph.initializer}


def test_fp16_graph_keeps_names_metadata_and_its_source(source: onnx.ModelProto) -> None:
    before = source.SerializeToString()
    typed = with_fp16(source)
    assert [value.name for value in typed.graph.output] == ["p3", "p4", "p5"]
    assert list(typed.metadata_props) == list(source.metadata_props)
    assert source.SerializeToString() == before


def test_scales_too_small_for_fp16_are_raised(network: onnx.ModelProto, blobs: list[Floats]) -> None:
    faint = onnx.ModelProto()
    faint.CopyFrom(network)
    weights = next(tensor for tensor in faint.graph.initializer if len(tensor.dims) == 4)
    values = numpy_helper.to_array(weights).copy()
    values[0] *= 1e-9  # one channel whose scale FP16 would round to 0
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    ranges = measure_ranges(faint, blobs, total=len(blobs))
    typed = with_fp16(with_qdq(faint, thresholds("minmax", ranges, {})))
    scales = {node.input[1] for node in typed.graph.node if node.op_type == "QuantizeLinear"}
    lowest = min(numpy_helper.to_array(tensor).min() for tensor in typed.graph.initializer if tensor.name in scales)
    assert lowest == np.finfo(np.float16).tiny
    outputs = ort.InferenceSession(typed.SerializeToString()).run(None, {"images": half(blobs[0])})
    assert all(np.isfinite(np.asarray(output)).all() for output in outputs)


def test_with_fp16_refuses_weights_beyond_its_range(network: onnx.ModelProto) -> None:
    large = onnx.ModelProto()
    large.CopyFrom(network)
    tensor = next(tensor for tensor in large.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e9), tensor.name))
    with pytest.raises(DataError, match="beyond FP16's range"):
        with_fp16(large)


def test_with_fp16_refuses_operators_it_does_not_know(network: onnx.ModelProto) -> None:
    strange = onnx.ModelProto()
    strange.CopyFrom(network)
    strange.graph.node[-1].op_type = "Gelu"
    with pytest.raises(DataError, match="cannot type Gelu"):
        with_fp16(strange)
