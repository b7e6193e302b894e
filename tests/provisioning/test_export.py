"""The exported graph: the same numbers as torch, the same bytes every time, small, and free in its batch."""

from __future__ import annotations

import ast
import copy
import json

import numpy as np
import onnx
import onnxruntime as ort
import onnxslim
import pytest
import torch

from edged.core.errors import EdgedError, UsageError
from edged.core.types import Floats
from provisioning import export
from provisioning.export import with_batch
from provisioning.model.description import Release, Size
from provisioning.model.network import Yolov5
from tests.provisioning.networks import lively, onnx_of

NAMES = ("cat", "dog")


def _run(net: Yolov5, images: Floats) -> list[Floats]:
    content = onnx_of(net, input_wh=(images.shape[3], images.shape[2]), names=NAMES)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    heads: list[Floats] = session.run(None, {"images": images})
    return heads


def _bytes(size: Size = "n", release: Release = "6") -> bytes:
    return onnx_of(lively(size, release=release), input_wh=(96, 64), names=NAMES)


@pytest.mark.parametrize("release", ["5", "6"])
def test_export_runs_as_torch_does_at_any_batch(release: Release) -> None:
    net = lively(release=release)
    session = ort.InferenceSession(onnx_of(net, input_wh=(96, 64), names=NAMES), providers=["CPUExecutionProvider"])
    assert [tensor.name for tensor in session.get_outputs()] == ["p3", "p4", "p5"]
    assert [tensor.shape for tensor in session.get_outputs()] == [
        ["batch", 21, 8, 12],
        ["batch", 21, 4, 6],
        ["batch", 21, 2, 3],
    ]
    for batch in (1, 3):
        images = torch.rand(batch, 3, 64, 96)
        with torch.no_grad():
            expected = net.sigmoid_maps(images)  # with its normalisation, not folded
        for got, wanted in zip(session.run(None, {"images": images.numpy()}), expected, strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("release", ["5", "6"])
@pytest.mark.parametrize("size", ["n", "s", *(pytest.param(size, marks=pytest.mark.slow) for size in "mlx")])
def test_export_gives_the_heads_that_torch_gives(size: Size, release: Release) -> None:
    """To 1e-5 of a head's largest number, or as near to exact numbers as torch's own float32 is."""
    net = lively(size, release=release)
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        single = net.sigmoid_maps(images)
        exact = copy.deepcopy(net).double().sigmoid_maps(images.double())
    for got, torchs, wanted in zip(_run(net, images.numpy()), single, exact, strict=True):
        rounding = float((torchs - wanted).abs().max())
        assert np.abs(got - wanted.numpy()).max() <= max(1e-5 * float(wanted.abs().max()), rounding)


def test_export_same_weights_same_bytes() -> None:
    assert _bytes() == _bytes()


@pytest.mark.parametrize(("size", "release"), [("n", "6"), ("n", "5"), ("m", "6")])
def test_export_leaves_a_simplifier_nothing(size: Size, release: Release) -> None:
    model = onnx.load_from_string(_bytes(size, release))
    slim = onnxslim.slim(onnx.load_from_string(_bytes(size, release)))
    assert len(slim.graph.node) == len(model.graph.node)
    assert not any(node.op_type in {"BatchNormalization", "Slice", "Shape"} for node in model.graph.node)


def test_export_metadata_and_versions() -> None:
    model = onnx.load_from_string(_bytes())
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["stride"] == "32"
    assert ast.literal_eval(metadata["names"]) == {0: "cat", 1: "dog"}
    assert json.loads(metadata["strides"]) == [8, 16, 32]
    assert json.loads(metadata["anchors"])[2][2] == [373, 326]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert {"model.24.m.0", "model.24.m.1", "model.24.m.2"} <= {node.name for node in model.graph.node}


def test_with_batch_takes_exactly_that_many() -> None:
    session = ort.InferenceSession(with_batch(_bytes(), 2), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [2, 3, 64, 96]
    assert [output.shape[0] for output in session.get_outputs()] == [2, 2, 2]
    assert session.run(None, {"images": np.zeros((2, 3, 64, 96), np.float32)})[0].shape == (2, 21, 8, 12)


@pytest.mark.parametrize("input_wh", [(100, 64), (0, 64), (64, 8224), (-32, 64)])
def test_export_refuses_size(input_wh: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        onnx_of(lively(), input_wh=input_wh, names=NAMES)


def test_export_refuses_a_graph_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LEAKY_SLOPE", 0.11)
    with pytest.raises(EdgedError, match="differs from the network"):
        onnx_of(lively(activation="leaky_relu"), input_wh=(64, 64), names=NAMES)
