"""Quantised graphs, as ONNX Runtime's own tools write them, become the float graphs that they stand for."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

from edged.core.errors import DataError
from edged.core.types import Floats
from provisioning.graphs.dequantised import dequantised, quantised_kinds

Values = npt.NDArray[Any]


def _model(
    nodes: Sequence[onnx.NodeProto], weights: dict[str, Values], *, outputs: Sequence[str] = ("out",), opset: int = 17
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        initializer=[numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _floats(*shape: int) -> Values:
    return (np.random.default_rng(shape).standard_normal(shape) * 0.3).astype(np.float32)


def _pictures(count: int, side: int = 8) -> Floats:
    return np.random.default_rng(3).random((count, 3, side, side), np.float32)


def _network(*, capped: bool = False) -> onnx.ModelProto:
    """Every form of convolution and product that a detector has; `capped`: with a Clip in place of the Relu."""
    weights = {
        "w1": _floats(8, 3, 3, 3),
        "b1": _floats(8),
        "w2": _floats(8, 1, 3, 3),  # one group per channel, without a bias
        "w3": _floats(6, 8, 1, 1),
        "b3": _floats(6),
        "w4": _floats(6, 5),
        "b4": _floats(5),
        "w5": _floats(5, 4),
        "zero": np.zeros((), np.float32),
        "cap": np.array(0.2, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], name="first", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Sigmoid", ["c1"], ["s1"]),
        helper.make_node("Conv", ["s1", "w2"], ["c2"], name="depth", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Clip", ["c2", "zero", "cap"], ["r2"]) if capped else helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"], name="last"),
        helper.make_node("Transpose", ["c3"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "w4"], ["m4"], name="product"),
        helper.make_node("Add", ["m4", "b4"], ["a4"]),
        helper.make_node("MatMul", ["a4", "w5"], ["out"], name="second"),
    ]
    return _model(nodes, weights)


def _dynamic(model: onnx.ModelProto, tmp_path: Path, **options: Any) -> onnx.ModelProto:
    file = tmp_path / "quantised.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_dynamic(model, file, **options)
    return onnx.load(file)


def _run(model: onnx.ModelProto, images: Floats) -> list[Floats]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value, np.float32) for value in session.run(None, {"images": images})]


def _by_hand(model: onnx.ModelProto, quantised: onnx.ModelProto) -> onnx.ModelProto:
    """The float network with (q - zero point) * scale instead of each weight that was quantised."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantised.graph.initializer}
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    for tensor in twin.graph.initializer:
        if f"{tensor.name}_quantized" in stored:
            whole = stored[f"{tensor.name}_quantized"].astype(np.float64)
            zero = stored[f"{tensor.name}_zero_point"].astype(np.float64)
            values = (whole - zero) * stored[f"{tensor.name}_scale"]
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return twin


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"weight_type": quantization.QuantType.QUInt8}, id="uint8"),
        pytest.param({"weight_type": quantization.QuantType.QInt8}, id="int8"),
        pytest.param({"weight_type": quantization.QuantType.QInt8, "per_channel": True}, id="per channel"),
        pytest.param({"extra_options": {"MatMulConstBOnly": False}}, id="defaults"),
    ],
)
def test_dynamically_quantised_network(tmp_path: Path, options: dict[str, Any]) -> None:
    network = _network()
    quantised = _dynamic(network, tmp_path, **options)
    assert quantised_kinds(quantised) == {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
    made = dequantised(quantised)
    onnx.checker.check_model(made, full_check=True)
    assert Counter(node.op_type for node in made.graph.node) == Counter(node.op_type for node in network.graph.node)
    images = _pictures(2)
    (got,), (exact,), (noisy,) = (_run(each, images) for each in (made, _by_hand(network, quantised), quantised))
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=2e-6)
    assert 0 < np.abs(got - noisy).mean() < 0.03 * np.abs(got).mean()  # what is left is the rounding of activations


def test_scales_and_zero_points_of_each_channel(tmp_path: Path) -> None:
    """ONNX allows them for ConvInteger; ONNX Runtime's tool writes one of each only."""
    quantised = _dynamic(_network(), tmp_path)
    zeros, scales = np.arange(8, dtype=np.uint8) + 100, np.linspace(0.001, 0.01, 8, dtype=np.float32)
    for tensor in quantised.graph.initializer:
        if tensor.name == "w1_zero_point":
            tensor.CopyFrom(numpy_helper.from_array(zeros.astype(_dtype(tensor)), tensor.name))
        elif tensor.name == "w1_scale":
            tensor.CopyFrom(numpy_helper.from_array(scales.reshape(8, 1, 1), tensor.name))
        elif tensor.name == "w1_quantized":
            whole = numpy_helper.to_array(tensor).astype(np.float32)
    made = dequantised(quantised)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    first = next(node for node in made.graph.node if node.name == "first_quant")
    expected = (whole - zeros.reshape(8, 1, 1, 1)) * scales.reshape(8, 1, 1, 1)
    np.testing.assert_array_equal(stored[first.input[1]], expected)


def _dtype(tensor: TensorProto) -> npt.DTypeLike:
    return numpy_helper.to_array(tensor).dtype


def test_a_quantised_tensor_that_is_moved_and_read_again(tmp_path: Path) -> None:
    """ONNX Runtime moves integers where a Transpose follows, and turns them back for what reads floats."""
    weights = {"w": _floats(3, 4, 1, 1), "w2": _floats(8, 4), "w3": _floats(4, 8)}
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["c"], name="conv"),
        helper.make_node("Transpose", ["images"], ["moved"], perm=[0, 3, 2, 1]),
        helper.make_node("Transpose", ["w3"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["c", "turned"], ["m"], name="product"),
        helper.make_node("Sigmoid", ["moved"], ["out2"]),
        helper.make_node("Relu", ["m"], ["out"]),
    ]
    weights["w0"] = _floats(4, 3, 1, 1)
    network = _model(nodes, weights, outputs=("out", "out2"))
    quantised = _dynamic(network, tmp_path)
    assert "DequantizeLinear" in quantised_kinds(quantised)
    made = dequantised(quantised)
    images = _pictures(1)
    for got, expected in zip(_run(made, images), _run(_by_hand(network, quantised), images), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert [value.name for value in made.graph.output] == ["out", "out2"]


class _Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]  # it has no annotations
    def __init__(self, pictures: Floats) -> None:
        self._pictures = iter(pictures)

    def get_next(self) -> dict[str, Floats] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {"images": picture[None]}


@pytest.mark.parametrize("kind", ["QUInt8", "QInt8"])
@pytest.mark.parametrize(("per_channel", "capped"), [(False, False), (True, True)])
def test_pairs_of_quantisation_and_its_inverse(tmp_path: Path, kind: str, *, per_channel: bool, capped: bool) -> None:
    """The activation is left out of such a file, for saturation does the same; it must come back."""
    network = _network(capped=capped)
    onnx.save(network, tmp_path / "float.onnx")
    images = _pictures(4)
    quantization.quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "quantised.onnx",
        _Pictures(images),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType[kind],
        weight_type=quantization.QuantType.QInt8,
        per_channel=per_channel,
    )
    quantised = onnx.load(tmp_path / "quantised.onnx")
    assert quantised_kinds(quantised) == {"QuantizeLinear", "DequantizeLinear"}
    assert not {"Relu", "Clip"} & {node.op_type for node in quantised.graph.node}
    made = dequantised(quantised)
    onnx.checker.check_model(made, full_check=True)
    expected = Counter(node.op_type for node in network.graph.node)
    assert Counter(node.op_type for node in made.graph.node) == expected - Counter(["Relu", "Clip"]) + Counter(["Clip"])
    (got,), (exact,), (noisy,) = (_run(each, images) for each in (made, network, quantised))
    assert np.abs(got - exact).mean() < 0.015 * np.abs(exact).mean()  # the rounding of the weights
    assert np.abs(got - exact).mean() < np.abs(noisy - exact).mean()


def test_a_float_model_is_left_alone() -> None:
    network = _network()
    assert dequantised(network) is network


def _changed(tmp_path: Path, kind: str, place: int, name: str) -> onnx.ModelProto:
    quantised = _dynamic(_network(), tmp_path)
    next(node for node in quantised.graph.node if node.op_type == kind).input[place] = name
    return quantised


@pytest.mark.parametrize(
    ("kind", "place", "name"),
    [
        pytest.param("ConvInteger", 2, "s1_zero_point", id="zero point of another tensor"),
        pytest.param("ConvInteger", 2, "", id="no zero point"),
        pytest.param("ConvInteger", 3, "images_zero_point", id="computed zero point of the weights"),
        pytest.param("ConvInteger", 0, "w1_quantized", id="no quantiser"),
        pytest.param("MatMulInteger", 3, "w2_quantized", id="zero points that do not fit"),
        pytest.param("Mul", 0, "s1_scale", id="scale of another tensor"),
        pytest.param("Mul", 1, "images_scale", id="one scale twice"),
        pytest.param("Cast", 0, "images_quantized", id="integers read by others"),
    ],
)
def test_another_form_is_refused(tmp_path: Path, kind: str, place: int, name: str) -> None:
    with pytest.raises(DataError, match=r"quantised in a form that is not read.*; import the float export"):
        dequantised(_changed(tmp_path, kind, place, name))


def test_a_sum_that_is_an_output_is_refused(tmp_path: Path) -> None:
    quantised = _dynamic(_network(), tmp_path)
    inner = next(node for node in quantised.graph.node if node.op_type == "ConvInteger").output[0]
    quantised.graph.output.append(helper.make_tensor_value_info(inner, TensorProto.INT32, None))
    with pytest.raises(DataError, match="not read"):
        dequantised(quantised)


@pytest.mark.parametrize(
    ("file", "output", "limit"),
    [
        ("yolo11n-320-dynint8.AGPL.onnx", "output0", 0.02),
        ("yolo26n-e2e-dynint8.AGPL.onnx", "/model.23/Sigmoid_output_0", 0.25),
        ("deimv2-atto-320-dynint8.onnx", "scores", 0.4),
    ],
)
def test_real_files_compute_what_they_did(test_data: Path, file: str, output: str, limit: float) -> None:
    """All but the noise of quantised activations; a tensor whose rows are not sorted, as far as there is one."""
    quantised = onnx.load(test_data / "models" / file)
    made = dequantised(quantised)
    assert not quantised_kinds(made)
    assert {node.op_type for node in made.graph.node} >= {"Conv", "Mul", "Sigmoid"}
    side = 640 if "26" in file else 320
    feeds: dict[str, Values] = {"images": _pictures(1, side)}
    if "deim" in file:
        feeds["orig_target_sizes"] = np.array([[320, 320]])
    values = []
    for model in (quantised, made):
        if output not in {value.name for value in model.graph.output}:
            model.graph.output.append(helper.make_empty_tensor_value_info(output))
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        values.append(session.run([output], feeds)[0].astype(np.float64))
    noise = np.abs(values[0] - values[1]).mean() / np.abs(values[0]).mean()
    assert 0 < noise < limit, noise
