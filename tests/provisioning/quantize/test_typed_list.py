"""The FP16 graph of a `list` model: rows stay float32 to the last digit, the products are FP16."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edged.core.errors import DataError
from provisioning.quantize.typed_list import with_fp16_inside
from tests.handmade_list import list_model

Array = np.ndarray[Any, Any]
SCALE = np.float32(1283.7)  # half of it is 641.85, which FP16 would make 642


def decoder_like(*, mask: float = -1e9) -> onnx.ModelProto:
    """A tiny head of DETR's kind: product, masked softmax, normalisation by squares, product, boxes in pixels."""
    arrays: dict[str, Array] = {
        "by_query": np.array([0, 4, -1], np.int64),
        "w1": np.eye(48, 8, dtype=np.float32),
        "mask": np.array([0, 0, 0, 0, 0, 0, 0, mask], np.float32),
        "two": np.array(2, np.float32),
        "tiny": np.array(1e-5, np.float32),
        "w2": np.zeros((8, 6), np.float32),
        "scale": np.full(4, SCALE, np.float32),
        "split": np.array([4, 1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["images", "by_query"], ["tokens"]),
        helper.make_node("MatMul", ["tokens", "w1"], ["queries"]),
        helper.make_node("Add", ["queries", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["attention"], axis=-1),
        helper.make_node("Pow", ["attention", "two"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["variance"], axes=[-1], keepdims=1),
        helper.make_node("Add", ["variance", "tiny"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["deviation"]),
        helper.make_node("Div", ["attention", "deviation"], ["normal"]),
        helper.make_node("MatMul", ["normal", "w2"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["parts"]),
        helper.make_node("Split", ["parts", "split"], ["box", "score", "class_logit"], axis=2),
        helper.make_node("Mul", ["box", "scale"], ["pixels"]),
        helper.make_node("Floor", ["class_logit"], ["class"]),
        helper.make_node("Concat", ["pixels", "score", "class"], ["rows"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 4, 6])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto, images: Array) -> Array:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows: Array = session.run(["rows"], {"images": images})[0]
    return rows


def types_read(model: onnx.ModelProto, kind: str) -> list[set[int]]:
    """Element types of what each node of a kind reads."""
    graph = model.graph
    entries = (*graph.input, *graph.value_info, *graph.output)
    types = {entry.name: entry.type.tensor_type.elem_type for entry in entries}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return [{types[name] for name in node.input} for node in graph.node if node.op_type == kind]


def test_rows_stay_float_and_the_products_are_half() -> None:
    plain = decoder_like()
    typed = with_fp16_inside(plain)
    assert types_read(typed, "MatMul") == [{TensorProto.FLOAT16}] * 2
    for kind in ("Pow", "Sqrt", "Sigmoid", "Mul", "Concat"):
        assert types_read(typed, kind) == [{TensorProto.FLOAT}], kind
    images = np.random.default_rng(0).random((2, 3, 8, 8), np.float32).astype(np.float16)
    rows = run(typed, images)
    assert rows.dtype == np.float32 and (rows[..., :4] == np.float32(0.5) * SCALE).all()
    np.testing.assert_allclose(rows, run(plain, images.astype(np.float32)), rtol=2e-3)
    assert plain.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT, "the original stays as it was"


def test_a_weight_beyond_half_keeps_its_reader_in_float() -> None:
    assert types_read(with_fp16_inside(decoder_like(mask=-1e9)), "Softmax") == [{TensorProto.FLOAT}]
    assert types_read(with_fp16_inside(decoder_like(mask=-1e4)), "Softmax") == [{TensorProto.FLOAT16}]


def test_squares_are_found_as_before() -> None:
    plain = onnx.load_from_string(list_model((640, 320)))
    images = np.full((1, 3, 320, 640), 0.4, np.float16)
    images[0, :, 64:128, 512:576] = np.array([1, 0, 0], np.float16)[:, None, None]
    rows = run(with_fp16_inside(plain), images)
    best = rows[0, rows[0, :, 4].argmax()]
    assert best[:4].tolist() == [512, 64, 576, 128] and best[4] > 0.99 and best[5] == 0


def test_a_constant_is_a_weight() -> None:
    model = decoder_like(mask=-1e4)
    mask = next(tensor for tensor in model.graph.initializer if tensor.name == "mask")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["mask"], value=mask))
    model.graph.initializer.remove(mask)
    assert types_read(with_fp16_inside(model), "Softmax") == [{TensorProto.FLOAT16}]


def test_a_product_may_make_the_rows_itself() -> None:
    model = decoder_like()
    del model.graph.node[10:]
    model.graph.node[9].output[0] = "rows"
    rows = run(with_fp16_inside(model), np.ones((1, 3, 8, 8), np.float16))
    assert rows.dtype == np.float32


def test_branches_are_refused() -> None:
    model = decoder_like()
    body = helper.make_graph(
        [helper.make_node("Identity", ["rows0"], ["kept"])],
        "branch",
        [],
        [helper.make_tensor_value_info("kept", TensorProto.FLOAT, None)],
    )
    model.graph.node[-1].output[0] = "rows0"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.bool_), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["rows"], then_branch=body, else_branch=body))
    with pytest.raises(DataError, match="cannot type If as FP16, as it holds a graph; use precision fp32"):
        with_fp16_inside(model)
