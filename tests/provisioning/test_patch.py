"""The decode node: its place in the graph, and that its attributes carry everything the decode needs."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edged.core.decode import GridDecode
from edged.core.errors import DataError
from edged.cpu.decode import Decoder
from plugins.yolo_layer.contract import OUTPUTS
from provisioning.cut.heads import cut_at_heads
from provisioning.graphs.table import before_and_after
from provisioning.patch import patch
from tests.handmade import CLASSES, DECODE, STRIDES, draw_square, square_model
from tests.provisioning.node_reference import YoloLayer_TRT, yolo_layer
from tests.provisioning.yolo_exports import FourHeads, WithDecode, exported

WH = (160, 96)


def model(input_wh: tuple[int, int] = WH) -> onnx.ModelProto:
    return onnx.load_from_string(square_model(input_wh))


def patched(source: onnx.ModelProto, *, threshold: float = 0.25, classes: int = len(CLASSES)) -> onnx.ModelProto:
    return patch(source, decode=DECODE, num_classes=classes, prenms_score_threshold=threshold)


def test_patch_appends_one_node_with_the_contracts_names_and_shapes() -> None:
    result = patched(model())
    onnx.checker.check_model(result)
    node = result.graph.node[-1]
    assert (node.op_type, node.name, node.domain) == ("YoloLayer_TRT", "YoloLayer", "edged")
    assert list(node.input) == ["p3", "p4", "p5"]
    assert sum(node.op_type == "YoloLayer_TRT" for node in result.graph.node) == 1
    cells = 3 * (20 * 12 + 10 * 6 + 5 * 3)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in result.graph.output
    }
    assert list(shapes) == list(OUTPUTS)
    assert list(shapes.values()) == [["batch", 1], ["batch", cells, 4], ["batch", cells], ["batch", cells]]
    types = [value.type.tensor_type.elem_type for value in result.graph.output]
    assert types == [onnx.TensorProto.INT32, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.INT32]


def test_patch_writes_the_models_own_numbers_into_the_attributes() -> None:
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in patched(model()).graph.node[-1].attribute}
    assert attributes["anchors"] == [32.0] * 6 + [64.0] * 6 + [128.0] * 6
    assert (attributes["max_stride"], attributes["num_classes"]) == (32, 3)
    assert attributes["prenms_score_threshold"] == pytest.approx(0.25)
    assert (attributes["plugin_version"], attributes["plugin_namespace"]) == (b"1", b"edged")


def test_patch_of_four_heads_finds_what_the_cpu_finds() -> None:
    net = FourHeads(classes=2)
    cut = cut_at_heads(exported(WithDecode(net), input_wh=(192, 128)), names=("cat", "dog"))
    decode = GridDecode(cut.anchors, cut.strides)
    source = onnx.load_from_string(cut.onnx)
    result = patch(source, decode=decode, num_classes=2, prenms_score_threshold=0.25)
    assert list(result.graph.node[-1].input) == ["p3", "p4", "p5", "p6"]
    blob = np.random.default_rng(4).random((1, 3, 128, 192), np.float32)
    evaluator = ReferenceEvaluator(result, new_ops=[YoloLayer_TRT])
    count, boxes, scores, classes = (np.asarray(array) for array in evaluator.run(None, {"images": blob}))
    heads = [np.asarray(head)[0] for head in ort.InferenceSession(cut.onnx).run(None, {"images": blob})]
    wanted = Decoder(decode)(heads, threshold=0.25)
    found = int(count[0, 0])
    assert found == len(wanted.score) > 10
    np.testing.assert_allclose(boxes[0, :found], wanted.xyxy, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(scores[0, :found], wanted.score, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(classes[0, :found], wanted.class_id)


def test_patch_keeps_metadata_and_leaves_its_input_alone() -> None:
    source = model()
    helper.set_model_props(source, {"stride": "32", "names": "{0: 'red'}"})
    before = source.SerializeToString()
    assert {entry.key: entry.value for entry in patched(source).metadata_props}["stride"] == "32"
    assert source.SerializeToString() == before


def test_patch_of_equal_models_gives_equal_bytes() -> None:
    assert patched(model()).SerializeToString() == patched(model()).SerializeToString()


def test_patched_graph_finds_what_the_daemon_finds() -> None:
    image = np.zeros((*WH[::-1], 3), np.uint8)
    draw_square(image, "green", 40, 24)
    blob = (image[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
    evaluator = ReferenceEvaluator(patched(model()), new_ops=[YoloLayer_TRT])

    count, boxes, scores, classes = (np.asarray(array) for array in evaluator.run(None, {"images": blob}))

    heads = [np.asarray(head) for head in ort.InferenceSession(square_model(WH)).run(None, {"images": blob})]
    ours = Decoder(DECODE)([head[0] for head in heads], threshold=0.25)
    n = int(count[0, 0])
    assert n == len(ours.score) > 0
    np.testing.assert_allclose(boxes[0, :n], ours.xyxy, atol=1e-3)
    np.testing.assert_allclose(scores[0, :n], ours.score, atol=1e-5)
    np.testing.assert_array_equal(classes[0, :n], ours.class_id)
    assert not boxes[0, n:].any()


def test_reference_of_the_node_agrees_with_the_daemons_decode_bit_by_bit() -> None:
    rng = np.random.default_rng(7)
    heads = [rng.random((2, 3 * 9, 96 // t, 160 // t), np.float32) for t in STRIDES]
    heads[0][0, 4, 0, 0] = np.nan
    anchors = tuple(tuple((float(w), float(h)) for w, h in rng.uniform(5, 200, (3, 2))) for _ in STRIDES)
    flat = [side for sizes in anchors for anchor in sizes for side in anchor]
    count, boxes, scores, classes = yolo_layer(
        heads, max_stride=32, num_classes=4, anchors=flat, prenms_score_threshold=0.3
    )
    decoder = Decoder(GridDecode(anchors, STRIDES))
    for image in range(2):
        ours = decoder([head[image] for head in heads], threshold=0.3)
        n = int(count[image, 0])
        np.testing.assert_array_equal(boxes[image, :n], ours.xyxy)
        np.testing.assert_array_equal(scores[image, :n], ours.score)
        np.testing.assert_array_equal(classes[image, :n], ours.class_id)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        pytest.param(
            {"classes": 80}, r"expected float32 or float16 \(B, 255, 12, 20\) for 80 classes", id="other-classes"
        ),
        pytest.param({"threshold": 1.0}, "must be in 0..1", id="threshold"),
    ],
)
def test_patch_refuses_what_does_not_belong_together(kwargs: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        patched(model(), **kwargs)  # type: ignore[arg-type]


def test_patch_refuses_a_patched_model() -> None:
    with pytest.raises(DataError, match="already"):
        patched(patched(model()))


def test_patch_refuses_a_model_without_the_heads() -> None:
    source = model()
    source.graph.output[0].name = "p3_mean"
    with pytest.raises(DataError, match="outputs p3, p4, p5, got outputs p3_mean"):
        patched(source)


def test_graph_table_shows_heads_before_and_the_node_after() -> None:
    text = before_and_after(model(), patched(model()))
    assert re.search(r"before\n(.*\n)*  output  p5 float \[batch, 24, 3, 5\]\nafter", text)
    assert "edged::YoloLayer_TRT YoloLayer(p3, p4, p5)" in text
    assert "anchors = [32, 32, 32, 32, 32, 32, ... (18)]" in text
    assert "output  DecodeDetectionBoxes float [batch, 945, 4]" in text
