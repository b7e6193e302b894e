"""Refuses exports that compute something before the network or after the decode, which the cut would lose.

Before the network, a graph may scale the pixels or reorder the colours; after the decode, it may reorder or change the
scores. In both cases the network alone would give other detections than the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from edged.core.errors import DataError
from edged.core.types import Floats
from provisioning.cut.recover import same_scores
from provisioning.graphs.plain import reads

COLOURS = 3
_BOX, _BOX_FIELDS = 4, 5  # x, y, w, h; with objectness
_OTHER_WIDTHS = {1, _BOX, 6}  # scores or labels, boxes, boxes with score and label: no table of class scores
_NO_VALUES = frozenset({"Shape", "Size"})  # their outputs depend on shapes only, not on values
_HARMLESS = frozenset({"Pad", "Identity"})  # padding of a convolution, as a node of its own


def kinds_on_the_way(model: onnx.ModelProto, starts: Iterable[str]) -> dict[str, frozenset[str]]:
    """For each tensor computed from `starts` without a convolution: the types of the nodes in between."""
    ways = dict.fromkeys(starts, frozenset[str]())
    for node in model.graph.node:  # sorted: each node follows those that it reads
        taken = reads(node) & ways.keys()
        if taken and node.op_type not in _NO_VALUES and node.op_type != "Conv":
            passed = frozenset({node.op_type}).union(*(ways[name] for name in taken))
            ways.update(dict.fromkeys(node.output, passed))
    return ways


def entries(model: onnx.ModelProto, picture: str) -> dict[str, frozenset[str]]:
    """Inputs of the first convolutions that are not the picture itself, with the types of the nodes in between."""
    ways = kinds_on_the_way(model, [picture])
    seen = [node.input[0] for node in model.graph.node if node.op_type == "Conv" and node.input[0] in ways]
    return {name: ways[name] for name in seen if ways[name] - _HARMLESS}


def suppressed(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the boxes and scores that a graph passes to its own NMS; empty without NMS."""
    return tuple(name for node in model.graph.node if node.op_type == "NonMaxSuppression" for name in node.input[:2])


def require_picture(seen: Mapping[str, Floats], ways: Mapping[str, frozenset[str]], picture: Floats) -> None:
    """Check that the first convolutions get the picture itself, or its pixels in the order of YOLOv5's Focus.

    Args:
        seen: tensors by name, at least those of `ways`.
        ways: from `entries`.
        picture: (1, 3, H, W) float32, the network's input.

    Raises:
        DataError: the graph changes the picture.
    """
    for name, kinds in ways.items():
        if not (np.array_equal(seen[name], picture) or _is_focus(seen[name], picture)):
            raise DataError(
                f"it changes the picture in front of its first convolution ({', '.join(sorted(kinds))})",
                remedy="export the network without preprocessing: edged gives it RGB of 0..1, as YOLOv5 is trained",
            )


def require_scores(tensors: Mapping[str, Floats], table: Floats) -> None:
    """Check that no tensor after the decode has other scores than the decode, or in another order.

    Args:
        tensors: by name, of any shape; those without one row or column for each box are ignored.
        table: (N, 5+classes), the decoded boxes.

    Raises:
        DataError: one has.
    """
    scores = table[:, _BOX_FIELDS:]  # (N, classes)
    classes = scores.shape[1]
    for name, tensor in tensors.items():
        rows = tensor[0] if tensor.ndim == 3 else tensor  # noqa: PLR2004 (B, N, width) or (B, width, N)
        if rows.ndim != 2 or len(table) not in rows.shape:  # noqa: PLR2004
            continue
        rows = rows if len(rows) == len(table) else rows.T
        width = rows.shape[1]
        if width in _OTHER_WIDTHS or width not in {classes, _BOX + classes, _BOX_FIELDS + classes}:
            continue
        got = rows[:, -classes:]
        wanted = (scores, scores * table[:, _BOX:_BOX_FIELDS])
        if not any(same_scores(got, each) for each in wanted):
            raise DataError(
                f"behind its decode, tensor {name} has other scores, or its classes in another order, than its heads",
                remedy="export the network with YOLOv5's own decode, or import the .pt",
            )


def _is_focus(seen: Floats, picture: Floats) -> bool:
    """Whether each group of three channels is every second pixel of every second row, with the colours in order."""
    corners = [picture[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)]
    return seen.shape == (1, 4 * COLOURS, *corners[0].shape[2:]) and all(
        any(np.array_equal(seen[:, first : first + COLOURS], corner) for corner in corners)
        for first in range(0, 4 * COLOURS, COLOURS)
    )
