"""Preprocessing in the graph gives what OpenCV gives for the same picture."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edged.cpu.session import open_session
from provisioning.families.pixels import BGR_255, IMAGENET, KNOWN, OPENMMLAB, RGB_255, Pixels
from provisioning.families.recognised import PIXEL_NAMES


def test_every_name_is_known() -> None:
    assert tuple(each.name for each in KNOWN) == PIXEL_NAMES


@pytest.mark.parametrize(
    ("pixels", "mean", "deviation", "bgr"),
    [
        (BGR_255, (0, 0, 0), (1, 1, 1), True),
        (RGB_255, (0, 0, 0), (1, 1, 1), False),
        (OPENMMLAB, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), True),
        (IMAGENET, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    ],
    ids=lambda value: value.name if isinstance(value, Pixels) else "",
)
def test_nodes_give_what_opencv_gives(
    pixels: Pixels, mean: tuple[float, ...], deviation: tuple[float, ...], *, bgr: bool
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)  # BGR, as OpenCV reads it
    ordered = picture if bgr else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    expected = ((ordered - np.array(mean)) / np.array(deviation)).transpose(2, 0, 1)
    given = (picture[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["wanted"], ["out"])],
        "g",
        [helper.make_tensor_value_info("given", TensorProto.FLOAT, [1, 3, 5, 7])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, 5, 7])],
    )
    pixels.put_before(graph, given="given", wanted="wanted")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = open_session(model.SerializeToString(), threads=1, where="the nodes")
    [got] = session.run(None, {"given": given})
    np.testing.assert_allclose(got[0], expected, atol=1e-3)
    np.testing.assert_allclose(pixels.of(given)[0], expected, atol=1e-3)
