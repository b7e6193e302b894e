"""Models that hang or fail inside ONNX Runtime when they see a bright picture: real hangs of a real inference."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.boxes import squares_picture
from tests.handmade import edit_manifest, square_model, write_bundle

Fault = Literal["hang", "fail"]
FOR_EVER = 1 << 60
BRIGHT = 0.9  # mean of the normalised picture: only an all white one is above it
ANY = 0.1  # the grey picture of the self-test too: the model hangs or fails while it is loaded


def write_faulty_bundle(directory: Path, fault: Fault, *, above: float = BRIGHT) -> Path:
    """The hand-made model of squares, which does `fault` on pictures whose mean is above `above`."""
    name = directory.name
    write_bundle(directory, name=name)
    content = _with_fault(square_model(), fault, above)
    (directory / "model.onnx").write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(directory, files={"model.onnx": record})
    return directory


def _with_fault(content: bytes, fault: Fault, above: float) -> bytes:
    """Adds 0 to the first head, after as many rounds (or from such a place) as the picture's mean says."""
    model = onnx.load_from_string(content)
    graph = model.graph
    constants = {"limit": np.float32(above), "huge": np.int64(FOR_EVER), "zeros": np.zeros(1, np.float32),
                 "go_on": np.array([True])[0], "zero": np.float32(0)}  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items())
    for node in graph.node:
        node.output[:] = ["p3_sound" if name == "p3" else name for name in node.output]
    graph.node.extend(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
            helper.make_node("Greater", ["mean", "limit"], ["bright"]),
            helper.make_node("Cast", ["bright"], ["bright_number"], to=TensorProto.INT64),
            helper.make_node("Mul", ["bright_number", "huge"], ["many"]),
            _loop() if fault == "hang" else helper.make_node("Gather", ["zeros", "many"], ["nothing"]),
            helper.make_node("Add", ["p3_sound", "nothing"], ["p3"]),
        ]
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _loop() -> onnx.NodeProto:
    def value(name: str, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [])

    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Abs", ["v"], ["v_out"])],
        "round",
        [value("i", TensorProto.INT64), value("c", TensorProto.BOOL), value("v", TensorProto.FLOAT)],
        [value("c_out", TensorProto.BOOL), value("v_out", TensorProto.FLOAT)],
    )
    return helper.make_node("Loop", ["many", "go_on", "zero"], ["nothing"], body=body)


def write_brightening_video(path: Path, *, dark: int = 40, white: int = 100, fps: float = 20.0) -> Path:
    """Squares, then white pictures."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 320))
    assert writer.isOpened()
    for _ in range(dark):
        writer.write(squares_picture())
    for _ in range(white):
        writer.write(np.full((320, 320, 3), 255, np.uint8))
    writer.release()
    return path
