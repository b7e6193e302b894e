"""Holds a rewritten graph against the original: the same picture, the boxes of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edged.core.decode import GridDecode
from edged.core.types import Floats
from edged.cpu.decode import Candidates, Decoder
from edged.cpu.nms import nms
from provisioning.families.box_code import Doubles

_SEEN = 1e-3
SHOWN_ABOVE, SHOWN_IOU, MOST_SHOWN = 0.25, 0.6, 300  # what counts as seen in a picture


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest of all cells.

    Attributes:
        px: of a side of a box, clipped to the network's input, pixels, for cells whose score exceeds a thousandth.
        score: of a cell.
    """

    px: float
    score: float


def difference(
    heads: Sequence[Floats], boxes: Sequence[Doubles], scores: Sequence[Doubles], decode: GridDecode
) -> Difference:
    """Compare the heads of the rewritten graph, decoded as the daemon does, with boxes and scores of the original.

    Args:
        heads: one (5 + classes, H, W) a stride.
        boxes: of the original, per stride (H * W, 4): x1, y1, x2, y2 in network pixels.
        scores: of the original, per stride (H * W, classes).
        decode: of the heads.
    """
    worst = Difference(0.0, 0.0)
    sides = [side * decode.strides[0] for side in heads[0].shape[:0:-1]]
    limit = np.array([*sides, *sides], np.float64)
    for head, xyxy, score, anchors, stride in zip(heads, boxes, scores, decode.anchors, decode.strides, strict=True):
        got = Decoder(GridDecode((anchors,), (stride,)))([head], threshold=-1.0)
        if len(got.xyxy) != len(xyxy):  # one is not finite
            return Difference(float("inf"), float("inf"))
        seen = score.max(axis=1) > _SEEN
        # The daemon clips boxes to the picture; what is far outside of it has lost its digits.
        px = float(np.abs(np.clip(got.xyxy, 0, limit) - np.clip(xyxy, 0, limit))[seen].max(initial=0.0))
        off = float(np.abs(got.score - score.max(axis=1)).max(initial=0.0))
        worst = Difference(max(worst.px, px), max(worst.score, off))
    return worst


def count_seen(boxes: Sequence[Doubles], scores: Sequence[Doubles]) -> int:
    """How many objects the original shows in a picture, after NMS."""
    xyxy, every = np.concatenate(boxes), np.concatenate(scores)
    best = every.max(axis=1)
    found = Candidates(xyxy.astype(np.float32), best.astype(np.float32), every.argmax(axis=1).astype(np.int32)).select(
        best > SHOWN_ABOVE
    )
    return len(nms(found.xyxy, found.score, found.class_id, iou_threshold=SHOWN_IOU, max_detections=MOST_SHOWN))
