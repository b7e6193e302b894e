"""Detectors without anchors: recognised by their numbers, rewritten exactly, refused where that cannot be."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edged.core.decode import GridDecode
from edged.core.errors import DataError, EdgedError, UsageError
from edged.core.types import Floats
from edged.cpu.session import open_session
from provisioning.cut.graph import image_input, read_onnx
from provisioning.families.dense import import_dense
from provisioning.families.pixels import KNOWN, Pixels
from provisioning.families.recognise import dense_graph
from provisioning.families.recognised import NO_HINTS, Hints, Recognised
from tests.provisioning.families.detectors import (
    STRIDES,
    Detector,
    Distances,
    Nanodet,
    NanodetPlus,
    OtherTask,
    Rtmdet,
    Yolox,
)
from tests.provisioning.yolo_exports import exported

WH = (96, 64)
NAMES = ("cat", "dog", "owl")


def imported(
    content: bytes, *, names: tuple[str, ...] = NAMES, hints: Hints = NO_HINTS, input_wh: tuple[int, int] = WH
) -> Recognised:
    model = read_onnx(content)
    picture = image_input(model)
    graph = dense_graph(model, picture, input_wh=input_wh)
    assert graph is not None
    return import_dense(graph, picture, input_wh=input_wh, names=names, hints=hints)


def pixels_of(made: Recognised) -> Pixels:
    return next(each for each in KNOWN if each.name == made.facts["pixels"])


def run(made: Recognised, images: Floats) -> list[Floats]:
    session = open_session(made.onnx, threads=1, where="the model")
    heads = session.run(list(made.decode.outputs) if isinstance(made.decode, GridDecode) else None, {"images": images})
    return [np.asarray(head) for head in heads]


def decoded(heads: list[Floats], decode: GridDecode, index: int) -> list[tuple[list[float], list[float]]]:
    """Box (x1, y1, x2, y2) and scores of every cell, by the formulae of a grid head, one number at a time."""
    found = []
    for head, stride, anchors in zip(heads, decode.strides, decode.anchors, strict=True):
        [(anchor_w, anchor_h)] = anchors
        for gy in range(head.shape[2]):
            for gx in range(head.shape[3]):
                sx, sy, sw, sh, objectness, *classes = (float(value) for value in head[index, :, gy, gx])
                cx, cy = (2 * sx - 0.5 + gx) * stride, (2 * sy - 0.5 + gy) * stride
                w, h = (2 * sw) ** 2 * anchor_w, (2 * sh) ** 2 * anchor_h
                box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                found.append((box, [objectness * each for each in classes]))
    return found


def corners(rows: Tensor) -> Tensor:
    """(N, 4) centre and size -> corners."""
    return torch.cat((rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2), 1)


def boxes_of_yolox(module: Yolox, images: Tensor) -> tuple[Tensor, Tensor]:
    rows = module(images)[0]
    if not module.decoded:
        cells = [(gx, gy, t) for t in STRIDES for gy in range(WH[1] // t) for gx in range(WH[0] // t)]
        for row, (gx, gy, t) in zip(rows, cells, strict=True):
            row[:4] = torch.tensor([(row[0] + gx) * t, (row[1] + gy) * t, math.exp(row[2]) * t, math.exp(row[3]) * t])
    return corners(rows[:, :4]), rows[:, 4:5] * rows[:, 5:]


def boxes_of_yolov8(module: Distances, images: Tensor) -> tuple[Tensor, Tensor]:
    rows = module(images)[0].T
    return corners(rows[:, :4]), rows[:, 4:]


def boxes_of_rtmdet(module: Rtmdet, images: Tensor) -> tuple[Tensor, Tensor]:
    boxes, scores = module(images)
    return boxes[0], scores[0]


def boxes_of_nanodet(module: Nanodet, images: Tensor) -> tuple[Tensor, Tensor]:
    given, boxes, scores = list(module(images)), [], []
    for stride in STRIDES:
        score, sides = given.pop(0), given.pop(0)
        cells = [(gx, gy) for gy in range(WH[1] // stride) for gx in range(WH[0] // stride)]
        for row, (gx, gy) in zip(sides, cells, strict=True):
            left, top, right, bottom = ((side.softmax(0) * torch.arange(8)).sum() * stride for side in row.view(4, 8))
            x, y = (gx + 0.5) * stride, (gy + 0.5) * stride
            boxes.append([x - left, y - top, x + right, y + bottom])
        scores.append(score)
    return torch.tensor(boxes), torch.cat(scores)


CASES = [
    pytest.param(Yolox(3), boxes_of_yolox, "yolox", "bgr255", id="YOLOX"),
    pytest.param(Yolox(3, decoded=True), boxes_of_yolox, "yolox", "bgr255", id="YOLOX, decoded"),
    pytest.param(Distances(3), boxes_of_yolov8, "yolov8", "rgb", id="YOLOv8"),
    pytest.param(Rtmdet(3), boxes_of_rtmdet, "rtmdet", "bgr-imagenet", id="RTMDet"),
    pytest.param(Nanodet(3), boxes_of_nanodet, "nanodet", "bgr-imagenet", id="NanoDet"),
]


@pytest.mark.parametrize(("module", "boxes_of", "family", "pixels"), CASES)
@pytest.mark.parametrize("opset", [12, 17])
def test_every_cell_is_that_of_the_original(
    module: nn.Module, boxes_of: object, family: str, pixels: str, opset: int
) -> None:
    made = imported(exported(module, input_wh=WH, opset=opset))
    assert isinstance(made.decode, GridDecode)
    assert (made.architecture, made.decode.family, made.facts["pixels"], made.names) == (family, family, pixels, NAMES)
    images = np.random.default_rng(5).random((2, 3, WH[1], WH[0]), np.float32)
    heads = run(made, images)
    for index in range(2):  # a batch of two equals each alone
        with torch.no_grad():
            boxes, scores = boxes_of(module.eval(), torch.from_numpy(pixels_of(made).of(images[index : index + 1])))  # type: ignore[operator]
        got = decoded(heads, made.decode, index)
        assert len(got) == len(boxes) == 126
        np.testing.assert_allclose([box for box, _ in got], boxes.numpy(), rtol=1e-4, atol=2e-3)
        np.testing.assert_allclose([score for _, score in got], scores.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("input_wh", [(128, 64), (96, 160)], ids=["whole cells", "cells over the edge"])
def test_every_cell_of_nanodet_plus(input_wh: tuple[int, int]) -> None:
    """Four levels; distances from a cell's corner; 96 pixels are one and a half cells of stride 64."""
    module = NanodetPlus(3)
    made = imported(exported(module, input_wh=input_wh), input_wh=input_wh)
    assert isinstance(made.decode, GridDecode)
    assert (made.decode.family, made.decode.strides) == ("nanodet-plus", (8, 16, 32, 64))
    images = np.random.default_rng(6).random((2, 3, *input_wh[::-1]), np.float32)
    heads = run(made, images)
    for index in range(2):
        with torch.no_grad():
            rows = module.eval()(torch.from_numpy(pixels_of(made).of(images[index : index + 1])))[0]
        wanted = []
        for row, (gx, gy, t) in zip(rows, _cells(input_wh, made.decode.strides), strict=True):
            left, top, right, bottom = ((side.softmax(0) * torch.arange(8)).sum() * t for side in row[3:].view(4, 8))
            wanted.append([gx * t - left, gy * t - top, gx * t + right, gy * t + bottom])
        got = decoded(heads, made.decode, index)
        np.testing.assert_allclose([box for box, _ in got], np.array(wanted), rtol=1e-4, atol=2e-3)
        np.testing.assert_allclose([score for _, score in got], rows[:, :3].numpy(), rtol=1e-4, atol=1e-6)


def _cells(input_wh: tuple[int, int], strides: tuple[int, ...]) -> list[tuple[int, int, int]]:
    columns_rows = [(math.ceil(input_wh[0] / t), math.ceil(input_wh[1] / t), t) for t in strides]
    return [(gx, gy, t) for columns, rows, t in columns_rows for gy in range(rows) for gx in range(columns)]


@pytest.mark.parametrize(
    "module",
    [Yolox(1), Yolox(64), Distances(1), Rtmdet(1), Rtmdet(4), Distances(64)],
    ids=lambda module: f"{type(module).__name__} of {module.channels['classes']}",
)
def test_numbers_of_classes_that_look_like_something_else(module: Detector) -> None:
    """One channel may be objectness or the only class, four a box, 64 a distribution."""
    classes = module.channels["classes"]
    made = imported(exported(module, input_wh=WH), names=tuple(f"c{index}" for index in range(classes)))
    assert len(made.names) == classes


class Mixing(Yolox):
    """What it sees in a picture depends on the first one of the batch."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images - images[:1] / 2)


def test_a_network_that_mixes_pictures_is_refused() -> None:
    with pytest.raises(EdgedError, match=r"rewritten, its boxes differ by .* from the original"):
        imported(exported(Mixing(3), input_wh=WH))


def test_a_free_size_is_imported_for_the_one_asked_for() -> None:
    module = Distances(3)
    made = imported(exported(module, input_wh=(64, 64), dynamic=True, opset=17))
    heads = run(made, np.zeros((1, 3, WH[1], WH[0]), np.float32))
    assert [head.shape for head in heads] == [(1, 8, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3)]


def test_preprocessing_can_be_said() -> None:
    made = imported(exported(Yolox(3), input_wh=WH), hints=Hints(pixels="rgb"))
    assert made.facts["pixels"] == "rgb"
    kinds = [node.op_type for node in onnx.load_from_string(made.onnx).graph.node[:2]]
    assert kinds[0] == "Conv"


def test_preprocessing_that_nobody_can_know_is_asked_for() -> None:
    content = exported(Distances(3, bins=0), input_wh=WH)
    with pytest.raises(UsageError, match="give --pixels, one of rgb, bgr255"):
        imported(content)
    assert imported(content, hints=Hints(pixels="rgb")).architecture == "anchor-free"


def test_scores_that_are_changed_behind_the_heads_are_refused() -> None:
    with pytest.raises(DataError, match="has other scores, or its classes in another order"):
        imported(exported(Distances(3, swap=True), input_wh=WH))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (OtherTask(32, prototypes=True), "a model for segmentation: 32 mask coefficients for each cell"),
        (OtherTask(51), "a model for poses or the like: 51 values for each cell"),
        (OtherTask(1), "a model for oriented boxes: an angle for each cell"),
    ],
    ids=["segmentation", "poses", "oriented boxes"],
)
def test_models_for_other_tasks_are_named(module: nn.Module, message: str) -> None:
    with pytest.raises(DataError, match=message):
        imported(exported(module, input_wh=WH, opset=17))


def test_names_are_asked_for_and_counted() -> None:
    with pytest.raises(UsageError, match=r"give --names FILE with 80 names, one a line, or --names coco"):
        imported(exported(Yolox(80), input_wh=WH), names=())
    with pytest.raises(DataError, match="3 class names for a model of 2 classes"):
        imported(exported(Yolox(2), input_wh=WH))


def test_the_same_file_gives_the_same_bytes() -> None:
    content = exported(Yolox(3), input_wh=WH)
    assert imported(content).onnx == imported(content).onnx
