"""A detector as in tutorials, for comparison: one frame after the other, with plain numpy around the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import onnxruntime as ort

from edged.core.decode import Decode, GridDecode, ListDecode
from edged.core.types import Floats, Pixels

CONFIDENCE, IOU, GREY = 0.25, 0.45, (114, 114, 114)


def plain_frame(session: ort.InferenceSession, decode: Decode) -> Callable[[Pixels], Floats]:
    """Make a function that letterboxes, runs the model, decodes every cell and suppresses; of a list it takes the best.

    Returns:
        A function from (H, W, 3) uint8 BGR to (K, 6) float32: x1, y1, x2, y2 in network pixels, score, class.
    """
    entry = session.get_inputs()[0]
    height, width = entry.shape[2:]
    finish = _finish_of(decode)

    def one(picture: Pixels) -> Floats:
        canvas = _letterbox(picture, width, height)
        blob = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
        return finish([output[0] for output in session.run(None, {entry.name: blob})])

    return one


def _finish_of(decode: Decode) -> Callable[[Sequence[Floats]], Floats]:
    """What turns the model's outputs, without the batch, into (K, 6) boxes."""
    match decode:
        case GridDecode(anchors, strides):
            heads = [(np.asarray(sizes, np.float32), stride) for sizes, stride in zip(anchors, strides, strict=True)]
            return lambda found: _suppress(
                np.concatenate([_decode(head, *about) for head, about in zip(found, heads, strict=True)])
            )
        case ListDecode():
            return lambda found: found[0][found[0][:, 4] > CONFIDENCE]


def _letterbox(picture: Pixels, width: int, height: int) -> Pixels:
    scale = min(width / picture.shape[1], height / picture.shape[0])
    new_w, new_h = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    resized = cv2.resize(picture, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    left, top = (width - new_w) // 2, (height - new_h) // 2
    bordered = cv2.copyMakeBorder(
        resized, top, height - new_h - top, left, width - new_w - left, cv2.BORDER_CONSTANT, value=GREY
    )
    return np.asarray(bordered, np.uint8)


def _decode(head: Floats, anchors: Floats, stride: int) -> Floats:
    """(A * (5 + C), H, W) sigmoided -> (A * H * W, 5 + C) with boxes as x1 y1 x2 y2."""
    rows, columns = head.shape[1:]
    cells = head.reshape(len(anchors), -1, rows, columns).transpose(0, 2, 3, 1)  # (A, H, W, 5 + C)
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(np.float32)
    centre = (cells[..., :2] * 2 - 0.5 + grid) * stride
    half = (cells[..., 2:4] * 2) ** 2 * anchors[:, None, None] / 2
    decoded = np.concatenate((centre - half, centre + half, cells[..., 4:]), axis=-1)
    return np.asarray(decoded.reshape(-1, decoded.shape[-1]), np.float32)


def _suppress(rows: Floats) -> Floats:
    scores = rows[:, 4:5] * rows[:, 5:]
    class_id = scores.argmax(axis=1)
    best = scores.max(axis=1)
    passed = best > CONFIDENCE
    kept: list[Floats] = []
    for number in np.unique(class_id[passed]):
        mine = passed & (class_id == number)
        left = np.column_stack((rows[mine, :4], best[mine], class_id[mine])).astype(np.float32)
        left = left[np.argsort(-left[:, 4], kind="stable")]
        while len(left):
            kept.append(left[0])
            left = left[1:][_iou(left[0], left[1:]) <= IOU]
    return np.array(kept, np.float32).reshape(-1, 6)


def _iou(one: Floats, many: Floats) -> Floats:
    corner = np.maximum(one[:2], many[:, :2])
    sides = np.clip(np.minimum(one[2:4], many[:, 2:4]) - corner, 0, None)
    shared = sides[:, 0] * sides[:, 1]
    area = (many[:, 2] - many[:, 0]) * (many[:, 3] - many[:, 1])
    iou: Floats = shared / ((one[2] - one[0]) * (one[3] - one[1]) + area - shared)
    return iou
