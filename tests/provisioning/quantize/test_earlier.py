"""Bundles that earlier releases imported hold arithmetic on shapes: it is no activation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from edged.core.types import Floats
from provisioning.frames.frameset import FrameSet
from provisioning.quantize.for_cpu import quantised_tensors
from provisioning.quantize.int8 import quantize
from provisioning.quantize.typed import with_fp16


def _heads(model: onnx.ModelProto, blob: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> Floats:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(head, np.float32).ravel() for head in session.run(None, {"images": blob})])


@pytest.fixture
def earlier(network: onnx.ModelProto) -> onnx.ModelProto:
    """What earlier releases stored of a file by the older exporter: it computes the size of each `Resize`."""
    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph = model.graph
    for key, values in (("start", [0]), ("middle", [2]), ("end", [4]), ("twice", [2, 2])):
        graph.initializer.append(helper.make_tensor(key, TensorProto.INT64, [len(values)], values))
    for node in [node for node in graph.node if node.op_type == "Resize"]:
        shape, first, last, twice, size = (f"{node.name}/{part}" for part in ("shape", "first", "last", "x2", "size"))
        before = [
            helper.make_node("Shape", [node.input[0]], [shape], name=shape),
            helper.make_node("Slice", [shape, "start", "middle"], [first], name=first),
            helper.make_node("Slice", [shape, "middle", "end"], [last], name=last),
            helper.make_node("Mul", [last, "twice"], [twice], name=twice),
            helper.make_node("Concat", [first, twice], [size], name=size, axis=0),
        ]
        node.input[:] = [node.input[0], "", "", size]
        place = list(graph.node).index(node)
        for made in reversed(before):
            graph.node.insert(place, made)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_bundles_of_before_can_be_quantised_and_typed(
    earlier: onnx.ModelProto, frames: FrameSet, tmp_path: Path
) -> None:
    blob = np.random.default_rng(9).random((2, 3, 64, 96), np.float32)
    expected = _heads(earlier, blob)
    made = quantize(earlier, frames, method="minmax", cache=tmp_path / "c.json")
    for each in (made.model, made.cpu):
        assert np.abs(_heads(each, blob) - expected).mean() < 0.05
    for source in (earlier, made.model):
        assert np.abs(_heads(with_fp16(source), blob.astype(np.float16)) - _heads(source, blob)).mean() < 4e-3


def test_shapes_that_stay_are_no_activations(earlier: onnx.ModelProto) -> None:
    """A backbone of the user's own may compute with shapes where the importer has no constant for them."""
    integers = {name for node in earlier.graph.node if node.op_type in {"Shape", "Slice"} for name in node.output}
    assert integers
    assert not [name for name in quantised_tensors(earlier) if name in integers or name.endswith(("/x2", "/size"))]
