"""The whole `YoloLayer_TRT` node in numpy, cell by cell in plain loops: the oracle that shares no code with ours.

Outputs per image: the count of boxes whose score exceeds the threshold, then the boxes themselves in order of head,
anchor, row, column, the rest zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

F = np.float32


def yolo_layer(
    heads: list[np.ndarray[Any, Any]],
    *,
    max_stride: int,
    num_classes: int,
    anchors: list[float],
    prenms_score_threshold: float,
) -> tuple[np.ndarray[Any, Any], ...]:
    """Heads (B, A*(5+C), H, W) -> int32 [B, 1], float32 [B, N, 4], float32 [B, N], int32 [B, N]."""
    batch = heads[0].shape[0]
    sizes = np.array(anchors, F).reshape(len(heads), -1, 2)
    per_head = sizes.shape[1]
    total = sum(per_head * head.shape[2] * head.shape[3] for head in heads)
    count = np.zeros((batch, 1), np.int32)
    boxes = np.zeros((batch, total, 4), F)
    scores = np.zeros((batch, total), F)
    classes = np.zeros((batch, total), np.int32)
    for image in range(batch):
        kept = 0
        for level, head in enumerate(heads):
            stride = F(max_stride >> (len(heads) - 1 - level))
            for anchor in range(per_head):
                channels = head[image, anchor * (5 + num_classes) : (anchor + 1) * (5 + num_classes)]
                for row in range(head.shape[2]):
                    for column in range(head.shape[3]):
                        cell = channels[:, row, column]
                        best = int(np.argmax(cell[5:]))
                        score = cell[4] * cell[5 + best]
                        if not score > F(prenms_score_threshold):
                            continue
                        x = (cell[0] * F(2) - F(0.5) + F(column)) * stride
                        y = (cell[1] * F(2) - F(0.5) + F(row)) * stride
                        w = (cell[2] * F(2)) * (cell[2] * F(2)) * sizes[level, anchor, 0]
                        h = (cell[3] * F(2)) * (cell[3] * F(2)) * sizes[level, anchor, 1]
                        boxes[image, kept] = (x - w / F(2), y - h / F(2), x + w / F(2), y + h / F(2))
                        scores[image, kept], classes[image, kept] = score, best
                        kept += 1
        count[image] = kept
    return count, boxes, scores, classes


class YoloLayer_TRT(OpRun):  # noqa: N801 - onnx finds the operator by the class's name
    """Lets onnx's reference evaluator run a patched graph: everything comes from the node's own attributes."""

    op_domain = "edged"

    def _run(self, *heads: np.ndarray[Any, Any], **attributes: Any) -> tuple[np.ndarray[Any, Any], ...]:
        kept = ("max_stride", "num_classes", "anchors", "prenms_score_threshold")
        return yolo_layer(list(heads), **{name: attributes[name] for name in kept})
