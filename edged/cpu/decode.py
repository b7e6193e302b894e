"""From the three sigmoided heads to candidate boxes: YOLOv5's decode, only where the score can pass.

Formulae (YOLOv5 release 5 to 7, as published with its architecture summary), for a cell (gx, gy) of a head with
stride t and an anchor (aw, ah), s the sigmoided channels in 0..1:
    cx = (2 sx - 0.5 + gx) t        w = (2 sw)^2 aw
    cy = (2 sy - 0.5 + gy) t        h = (2 sh)^2 ah
    score = objectness x best class probability
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edged.core.boxes import box_cxcywh_to_xyxy
from edged.core.types import Floats, Ints, require_array

_BOX, _OBJECTNESS, _CLASSES = slice(0, 4), 4, 5  # channels of one anchor


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes before NMS, in order of head, anchor, row, column.

    Attributes:
        xyxy: (N, 4) float32, network pixels, finite.
        score: (N,) float32, objectness times best class probability.
        class_id: (N,) int32.
    """

    xyxy: Floats
    score: Floats
    class_id: Ints

    def __post_init__(self) -> None:
        require_array("xyxy", self.xyxy, np.float32, (None, 4))
        require_array("score", self.score, np.float32, (len(self.xyxy),))
        require_array("class_id", self.class_id, np.int32, (len(self.xyxy),))

    def select(self, index: np.ndarray[tuple[int, ...], np.dtype[np.bool_ | np.intp]]) -> Candidates:
        """Those at a boolean mask or an index array."""
        return Candidates(self.xyxy[index], self.score[index], self.class_id[index])


class Decoder:
    """Decodes the heads of one model.

    Args:
        anchors: per head, per anchor (width, height), network pixels.
        strides: network pixels a cell, per head.
    """

    def __init__(self, *, anchors: Sequence[Sequence[tuple[float, float]]], strides: Sequence[int]) -> None:
        self._heads = [
            (np.asarray(sizes, np.float32), np.float32(stride)) for sizes, stride in zip(anchors, strides, strict=True)
        ]

    def __call__(self, heads: Sequence[Floats], *, threshold: float) -> Candidates:
        """All boxes whose score is above `threshold`.

        Args:
            heads: per stride, (anchors * (5 + classes), H, W) float32, sigmoided.
            threshold: 0..1; a score must exceed it. A NaN never does.

        Returns:
            The candidates, in order of head, anchor, row, column.
        """
        limit = np.float32(threshold)
        found = [
            _decode_head(head, sizes, stride, limit) for head, (sizes, stride) in zip(heads, self._heads, strict=True)
        ]
        return Candidates(
            np.concatenate([part.xyxy for part in found]),
            np.concatenate([part.score for part in found]),
            np.concatenate([part.class_id for part in found]),
        )


def _decode_head(head: Floats, anchors: Floats, stride: np.float32, threshold: np.float32) -> Candidates:
    columns = head.shape[2]
    cells = head.reshape(len(anchors), -1, head.shape[1] * columns)  # (A, 5 + C, H * W)
    # A class probability is at most 1, so a cell whose objectness does not pass cannot pass as a product.
    anchor, cell = np.nonzero(cells[:, _OBJECTNESS] > threshold)
    picked = cells[anchor, :, cell]  # (K, 5 + C)
    class_id = picked[:, _CLASSES:].argmax(axis=1)
    score = picked[:, _OBJECTNESS] * picked[np.arange(len(picked)), _CLASSES + class_id]
    grid = np.stack((cell % columns, cell // columns), axis=1).astype(np.float32)  # (K, 2)
    doubled = picked[:, _BOX] * np.float32(2)
    centre = (doubled[:, :2] - np.float32(0.5) + grid) * stride
    size = doubled[:, 2:] * doubled[:, 2:] * anchors[anchor]
    xyxy = box_cxcywh_to_xyxy(np.concatenate((centre, size), axis=1))
    candidates = Candidates(xyxy, score, class_id.astype(np.int32))
    return candidates.select((score > threshold) & np.isfinite(xyxy).all(axis=1))
