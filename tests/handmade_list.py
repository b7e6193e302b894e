"""Models of kind `list` made by hand: one sees the squares of `handmade`, one answers the same whatever it sees."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edged.core.decode import ROW_VALUES, ROWS, ListDecode
from edged.core.manifest import FileRecord, Manifest
from edged.core.types import Floats
from tests.handmade import CLASSES

Array = np.ndarray[Any, Any]
DECODE = ListDecode("handmade")
_SIDE, _STEP = 64, 16  # of the windows that the model looks at, network pixels


def list_model(input_wh: tuple[int, int] = (320, 320)) -> bytes:
    """An ONNX model with input `images` and output `rows`: a row for each window of 64x64 pixels, no NMS needed."""
    width, height = input_wh
    columns, lines = (width - _SIDE) // _STEP + 1, (height - _SIDE) // _STEP + 1
    x1, y1 = np.meshgrid(np.arange(columns) * _STEP, np.arange(lines) * _STEP)
    corners = np.stack((x1, y1, x1 + _SIDE, y1 + _SIDE), axis=-1).reshape(1, -1, 4).astype(np.float32)
    # Positive only where one colour is near 1 and the two others near 0.
    purity = 1.5 * np.eye(3, dtype=np.float32) - 0.5 * np.ones((3, 3), np.float32)
    arrays: dict[str, Array] = {
        "w": 80 * purity.reshape(3, 3, 1, 1),
        "b": np.full(3, -68, np.float32),
        "by_window": np.array([0, 3, -1], np.int64),
        "zero": np.zeros(1, np.float32),
        "corners": corners,
    }
    nodes = [
        helper.make_node("AveragePool", ["images"], ["mean"], kernel_shape=[_SIDE] * 2, strides=[_STEP] * 2),
        helper.make_node("Conv", ["mean", "w", "b"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["colours"]),
        helper.make_node("Reshape", ["colours", "by_window"], ["flat"]),
        helper.make_node("ReduceMax", ["flat"], ["best"], axes=[1], keepdims=1),
        helper.make_node("ArgMax", ["flat"], ["index"], axis=1, keepdims=1),
        helper.make_node("Cast", ["index"], ["class"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["best"], ["score"], perm=[0, 2, 1]),
        helper.make_node("Transpose", ["class"], ["class_id"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["score", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "corners"], ["boxes"]),
        helper.make_node("Concat", ["boxes", "score", "class_id"], [ROWS], axis=2),
    ]
    return _model(nodes, arrays, input_wh, rows=columns * lines)


def fixed_rows_model(rows: Floats, input_wh: tuple[int, int] = (64, 64)) -> bytes:
    """An ONNX model that answers `rows`, (N, 6), to every picture."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["mean"], ["one"], axes=[1], keepdims=1),
        helper.make_node("Unsqueeze", ["one", "axes"], ["cube"]),
        helper.make_node("Mul", ["cube", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "content"], [ROWS]),
    ]
    arrays: dict[str, Array] = {"axes": np.array([1], np.int64), "zero": np.zeros(1, np.float32), "content": rows[None]}
    return _model(nodes, arrays, input_wh, rows=len(rows))


def _model(nodes: list[onnx.NodeProto], arrays: dict[str, Array], input_wh: tuple[int, int], *, rows: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, input_wh[1], input_wh[0]])],
        [helper.make_tensor_value_info(ROWS, TensorProto.FLOAT, ["batch", rows, ROW_VALUES])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def list_manifest(content: bytes, *, input_wh: tuple[int, int] = (320, 320), name: str = "squares-list") -> Manifest:
    """The manifest of a bundle whose `model.onnx` is `content`."""
    return Manifest(
        name=name,
        architecture="handmade-list",
        classes=CLASSES,
        decode=DECODE,
        input_wh=input_wh,
        licence="Apache-2.0",
        files={"model.onnx": FileRecord(hashlib.sha256(content).hexdigest(), len(content))},
    )


def write_list_bundle(
    directory: Path, content: bytes = b"", *, input_wh: tuple[int, int] = (320, 320), **changes: object
) -> Path:
    """Write a bundle of kind `list` into `directory`; returns it. The model that sees squares, or `content`."""
    directory.mkdir(parents=True, exist_ok=True)
    content = content or list_model(input_wh)
    (directory / "model.onnx").write_bytes(content)
    manifest = dataclasses.replace(list_manifest(content, input_wh=input_wh), **changes)  # type: ignore[arg-type]
    (directory / "manifest.json").write_text(manifest.to_json())
    return directory
