"""What an export does beside the network, which the cut leaves out or the daemon does not know of: each is refused.

In front of the network, a graph may scale or reorder the picture's colours; behind the decode, it may reorder or change
the scores. Either way the network alone would give other detections than the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from edged.core.errors import DataError
from edged.core.types import Floats
from provisioning.cut.recover import same_scores
from provisioning.plain import reads

COLOURS = 3
_BOX, _BOX_FIELDS = 4, 5  # x, y, w, h; with objectness
_OTHER_WIDTHS = {1, _BOX, 6}  # scores, labels, boxes, boxes with score and label: whatever the number of classes is
_NO_VALUES = frozenset({"Shape", "Size"})  # what they give depends on sizes alone
_HARMLESS = frozenset({"Pad", "Identity"})  # a convolution's own padding, written apart


def kinds_on_the_way(model: onnx.ModelProto, starts: Iterable[str]) -> dict[str, frozenset[str]]:
    """The kinds of nodes that the values of `starts` passed, for each tensor with some before the next convolution."""
    ways = dict.fromkeys(starts, frozenset[str]())
    for node in model.graph.node:  # each follows what it reads
        taken = reads(node) & ways.keys()
        if taken and node.op_type not in _NO_VALUES and node.op_type != "Conv":
            passed = frozenset({node.op_type}).union(*(ways[name] for name in taken))
            ways.update(dict.fromkeys(node.output, passed))
    return ways


def entries(model: onnx.ModelProto, picture: str) -> dict[str, frozenset[str]]:
    """The tensors that the first convolutions see, and the kinds of nodes between the picture and them."""
    ways = kinds_on_the_way(model, [picture])
    seen = [node.input[0] for node in model.graph.node if node.op_type == "Conv" and node.input[0] in ways]
    return {name: ways[name] for name in seen if ways[name] - _HARMLESS}


def suppressed(model: onnx.ModelProto) -> tuple[str, ...]:
    """The boxes and scores that a graph hands to its own NMS."""
    return tuple(name for node in model.graph.node if node.op_type == "NonMaxSuppression" for name in node.input[:2])


def require_picture(seen: Mapping[str, Floats], ways: Mapping[str, frozenset[str]], picture: Floats) -> None:
    """Raise unless the first convolutions see the picture itself, or its pixels as YOLOv5's Focus puts them.

    Args:
        seen: tensors by name, those of `ways` among them.
        ways: what `entries` gave.
        picture: (1, 3, H, W).

    Raises:
        DataError: the graph changes it.
    """
    for name, kinds in ways.items():
        if not (np.array_equal(seen[name], picture) or _is_focus(seen[name], picture)):
            raise DataError(
                f"it changes the picture in front of its first convolution ({', '.join(sorted(kinds))})",
                remedy="export the network without preprocessing: edged gives it RGB of 0..1, as YOLOv5 is trained",
            )


def require_scores(tensors: Mapping[str, Floats], table: Floats) -> None:
    """Raise where a tensor behind the decode has other scores than it, or in another order.

    Args:
        tensors: by name, of any shape; those without a row or column a box are passed over.
        table: (N, 5+classes), decoded.

    Raises:
        DataError: as said.
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
    """Whether each three channels are every second pixel of every second row, colours in order."""
    corners = [picture[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)]
    return seen.shape == (1, 4 * COLOURS, *corners[0].shape[2:]) and all(
        any(np.array_equal(seen[:, first : first + COLOURS], corner) for corner in corners)
        for first in range(0, 4 * COLOURS, COLOURS)
    )
