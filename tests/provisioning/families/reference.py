"""Decoders of real files in numpy and OpenCV, written from the families' descriptions, not with the product's code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Array = npt.NDArray[np.float32]
Found = tuple[Array, Array, npt.NDArray[np.int64]]  # (N, 4) corners, (N,) scores, (N,) classes

MEAN = np.array([103.53, 116.28, 123.675], np.float32)
DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)
STRIDES = (8, 16, 32)


def run(file: Path, blob: Array) -> list[Array]:
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return [np.asarray(each) for each in session.run(None, {session.get_inputs()[0].name: blob})]


def cells(side: int) -> tuple[Array, Array]:
    """(N, 2) column and row, and (N, 1) stride of every cell of a square input."""
    grids, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: side // stride, : side // stride]
        grids.append(np.stack((x, y), -1).reshape(-1, 2))
        strides.append(np.full((grids[-1].shape[0], 1), stride))
    return np.concatenate(grids).astype(np.float32), np.concatenate(strides).astype(np.float32)


def yolox(file: Path, bgr: npt.NDArray[np.uint8]) -> Found:
    [rows] = run(file, bgr.transpose(2, 0, 1)[None].astype(np.float32))[0]
    grid, stride = cells(len(bgr))
    centre, size = (rows[:, :2] + grid) * stride, np.exp(rows[:, 2:4]) * stride
    scores = rows[:, 4:5] * rows[:, 5:]
    return np.concatenate((centre - size / 2, centre + size / 2), 1), scores.max(1), scores.argmax(1)


def nanodet(file: Path, bgr: npt.NDArray[np.uint8]) -> Found:
    outputs = run(file, ((bgr - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32))
    by_size = sorted((each.reshape(-1, each.shape[-1]) for each in outputs), key=lambda each: -len(each))
    scores = np.concatenate([each for each in by_size if each.shape[1] == 80])
    bins = np.concatenate([each for each in by_size if each.shape[1] == 32]).reshape(-1, 4, 8)
    weights = np.exp(bins - bins.max(2, keepdims=True))
    grid, stride = cells(len(bgr))
    sides = (weights / weights.sum(2, keepdims=True) * np.arange(8)).sum(2) * stride
    point = (grid + 0.5) * stride
    return np.concatenate((point - sides[:, :2], point + sides[:, 2:]), 1), scores.max(1), scores.argmax(1)


def yolov8(file: Path, bgr: npt.NDArray[np.uint8]) -> Found:
    """Boxes decoded by the file: (4 + classes, N), centre and size."""
    rows = run(file, bgr[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))[0][0].T
    boxes = np.concatenate((rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2), 1)
    return boxes, rows[:, 4:].max(1), rows[:, 4:].argmax(1)


def rtmdet(file: Path, bgr: npt.NDArray[np.uint8]) -> Found:
    """The file has its own NMS: boxes with scores, labels."""
    boxes, labels = run(file, ((bgr - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32))
    return boxes[0, :, :4], boxes[0, :, 4], labels[0].astype(np.int64)


def kept(found: Found, *, confidence: float, iou: float) -> list[tuple[int, float, list[float]]]:
    """Class, score and corners of what OpenCV's NMS keeps, best first."""
    boxes, scores, classes = found
    over = scores > confidence
    boxes, scores, classes = boxes[over], scores[over], classes[over]
    sized = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1).astype(float)
    index = cv2.dnn.NMSBoxesBatched(sized.tolist(), scores.tolist(), classes.tolist(), confidence, iou)
    best = sorted(np.asarray(index, np.int64).ravel(), key=lambda each: -scores[each])
    return [(int(classes[each]), float(scores[each]), [float(side) for side in boxes[each]]) for each in best]


DECODERS: dict[str, Callable[[Path, npt.NDArray[np.uint8]], Found]] = {
    "yolox-nano-416": yolox,
    "nanodet-m-320": nanodet,
    "rtmdet-nano-person-320": rtmdet,
}
