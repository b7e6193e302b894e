"""A YOLOv5-shaped network made by hand: it finds squares of pure red, green and blue, exactly and without training.

Real ONNX for real ONNX Runtime. Each head looks at a window around each cell through an average pool: objectness is how
pure the window's colour is, the class is the colour, the box is the window. In network pixels, a 64x64 square whose
left and top are 8 (mod 16) fills one window of the middle head exactly and is found there with a score of nearly 1.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edged.core.decode import GridDecode
from edged.core.manifest import FileRecord, Manifest

CLASSES = ("red", "green", "blue")
ANCHORS = (((32.0, 32.0),) * 3, ((64.0, 64.0),) * 3, ((128.0, 128.0),) * 3)
STRIDES = (8, 16, 32)
DECODE = GridDecode(ANCHORS, STRIDES)
_CHANNELS = 5 + len(CLASSES)
_SHARPNESS = 80.0


def square_model(input_wh: tuple[int, int] = (320, 320)) -> bytes:
    """An ONNX model with input `images` and heads `p3 p4 p5`; only the middle head (stride 16) ever fires."""
    width, height = input_wh
    graph = helper.make_graph(
        [node for stride, name in zip(STRIDES, ("p3", "p4", "p5"), strict=True) for node in _head(stride, name)],
        "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, height, width])],
        [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, ["batch", 3 * _CHANNELS, height // stride, width // stride]
            )
            for stride, name in zip(STRIDES, ("p3", "p4", "p5"), strict=True)
        ],
        [array for stride, name in zip(STRIDES, ("p3", "p4", "p5"), strict=True) for array in _weights(stride, name)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _head(stride: int, name: str) -> list[onnx.NodeProto]:
    window, pad = (4 * stride, 3 * stride // 2) if stride == STRIDES[1] else (stride, 0)
    mean = helper.make_node(
        "AveragePool",
        ["images"],
        [f"{name}_mean"],
        kernel_shape=[window, window],
        strides=[stride, stride],
        pads=[pad] * 4,
        count_include_pad=1,
    )
    return [
        mean,
        helper.make_node("Conv", [f"{name}_mean", f"{name}_w1", f"{name}_b1"], [f"{name}_linear"]),
        helper.make_node("Relu", [f"{name}_linear"], [f"{name}_hidden"]),
        helper.make_node("Conv", [f"{name}_hidden", f"{name}_w2", f"{name}_b2"], [f"{name}_logits"]),
        helper.make_node("Sigmoid", [f"{name}_logits"], [name]),
    ]


def _weights(stride: int, name: str) -> list[onnx.TensorProto]:
    # Hidden unit c is positive only where colour c is near 1 and the other two near 0.
    purity = 1.5 * np.eye(3, dtype=np.float32) - 0.5 * np.ones((3, 3), np.float32)
    out = np.zeros((3, _CHANNELS, 3), np.float32)
    bias = np.zeros((3, _CHANNELS), np.float32)
    bias[:, 4] = -8.0
    if stride == STRIDES[1]:
        out[0, 4] = _SHARPNESS  # the first anchor of the middle head sees any pure colour
    for colour in range(3):
        out[:, 5 + colour, colour] = _SHARPNESS
    bias[:, 5:] = -8.0
    arrays = {
        "w1": purity.reshape(3, 3, 1, 1),
        "b1": np.full(3, -0.75, np.float32),
        "w2": out.reshape(3 * _CHANNELS, 3, 1, 1),
        "b2": bias.reshape(-1),
    }
    return [numpy_helper.from_array(array, f"{name}_{key}") for key, array in arrays.items()]


def write_bundle(directory: Path, *, input_wh: tuple[int, int] = (320, 320), name: str = "squares") -> Path:
    """Write the hand-made model as a bundle into `directory`; returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    content = square_model(input_wh)
    (directory / "model.onnx").write_bytes(content)
    manifest = Manifest(
        name=name,
        architecture="handmade",
        classes=CLASSES,
        decode=DECODE,
        input_wh=input_wh,
        licence="Apache-2.0",
        files={"model.onnx": FileRecord(hashlib.sha256(content).hexdigest(), len(content))},
    )
    (directory / "manifest.json").write_text(manifest.to_json())
    return directory


def edit_manifest(directory: Path, **changes: object) -> None:
    """Overwrite fields of a bundle's manifest, unchecked: for tests of damaged bundles."""
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def draw_square(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], colour: str, left: int, top: int) -> None:
    """Paint a 64x64 square of a pure colour into a BGR picture."""
    bgr = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}[colour]
    image[top : top + 64, left : left + 64] = bgr
