"""How a model's outputs are decoded: one class per kind. Every part that reads outputs matches on the kind once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edged.core.errors import BundleMismatch

Anchors = tuple[tuple[tuple[float, float], ...], ...]

_FIRST_HEAD = 3  # a head of stride 2**3 is called p3
BOX_CHANNELS = 5  # x, y, w, h and objectness, in front of the classes
ROWS = "rows"  # the one output of a `list` model
ROW_VALUES = 6  # x1, y1, x2, y2, score, class id
MAX_ROWS = 1 << 16  # of one picture; real models have 100 to 1000. Bounds the memory that a graph can ask for.


@dataclass(frozen=True, slots=True)
class GridDecode:
    """Grid heads: each cell predicts boxes relative to anchors, objectness and class scores (see `cpu/decode.py`).

    The model has one output a stride, `p3`, `p4`, ...: (B, anchors * (5 + classes), H, W) float32. Where a side is no
    multiple of a stride, the last row or column of its cells reaches over the picture's edge.

    Attributes:
        anchors: per head, per anchor (width, height), network pixels; each head has the same number.
        strides: network pixels per cell, one per head, ascending.
        family: name of the detector family that the heads come from, e.g. `yolov5`; only shown.

    Raises:
        ValueError: values that do not fit each other or are not positive.
    """

    anchors: Anchors
    strides: tuple[int, ...]
    family: str = "yolov5"
    kind: Literal["grid"] = "grid"

    def __post_init__(self) -> None:
        problem = _first_problem(self)
        if problem:
            raise ValueError(problem)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> GridDecode:
        """Build from the JSON object that `dataclasses.asdict` gives.

        Raises:
            TypeError, ValueError, KeyError: a field is missing, unknown or malformed.
        """
        anchors = tuple(tuple((float(w), float(h)) for w, h in head) for head in raw["anchors"])
        strides = tuple(int(stride) for stride in raw["strides"])
        return cls(**{**raw, "anchors": anchors, "strides": strides})

    @property
    def multiple(self) -> int:
        """Both sides of the network's input must be a multiple of this, pixels."""
        return self.strides[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs, one a stride."""
        return head_names(len(self.strides))

    def output_shapes(self, *, classes: int, input_wh: tuple[int, int]) -> list[tuple[int, ...]]:
        """Shapes of the model's outputs without the batch, one per head: (anchors * (5 + classes), H, W)."""
        return [
            (len(sizes) * (BOX_CHANNELS + classes), *cells_hw(input_wh, stride))
            for sizes, stride in zip(self.anchors, self.strides, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class ListDecode:
    """A list of finished boxes, as DETR's family and other end-to-end detectors give it: no anchors, no NMS.

    The model has one output, `rows`: (B, N, 6) float32, N fixed by the graph, at most `MAX_ROWS`. A row is x1, y1, x2,
    y2 in network pixels, a score in 0..1 and a class id, a whole number. Rows come in any order. One that holds NaN or
    infinity, ends before it begins or names no class of the model counts for nothing.

    Attributes:
        family: name of the detector family that the model comes from, e.g. `rtdetr`; only shown.

    Raises:
        ValueError: the family is no text, or empty.
    """

    family: str
    kind: Literal["list"] = "list"

    def __post_init__(self) -> None:
        problem = _family_problem(self.family)
        if problem:
            raise ValueError(problem)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ListDecode:
        """Build from the JSON object that `dataclasses.asdict` gives.

        Raises:
            TypeError, ValueError: a field is missing, unknown or malformed.
        """
        return cls(**raw)

    @property
    def multiple(self) -> int:
        """Both sides of the network's input must be a multiple of this, pixels: any side, as the graph fixes it."""
        return 1


Decode = GridDecode | ListDecode


def head_names(count: int) -> tuple[str, ...]:
    """Names of the outputs of a model with `count` grid heads: `p3`, `p4`, ..., smallest stride first."""
    return tuple(f"p{_FIRST_HEAD + index}" for index in range(count))


def cells_hw(input_wh: tuple[int, int], stride: int) -> tuple[int, int]:
    """(rows, columns) of the head of that stride; both in pixels."""
    width, height = input_wh
    return -(-height // stride), -(-width // stride)


def decode_from_json(raw: Mapping[str, Any]) -> Decode:
    """Build the decode that `raw["kind"]` names.

    Raises:
        TypeError, ValueError, KeyError: a field is missing, unknown or malformed.
        BundleMismatch: a kind that this release does not know.
    """
    match raw["kind"]:
        case "grid":
            return GridDecode.from_json(raw)
        case "list":
            return ListDecode.from_json(raw)
    raise BundleMismatch(
        f"decode {raw['kind']!r} is not known to this edged, which knows grid and list",
        remedy="update edged, or provision the model again with this version",
    )


def _first_problem(grid: GridDecode) -> str:
    """What is wrong with the values, or an empty string."""
    anchors, strides = grid.anchors, grid.strides
    if not strides or any(stride < 1 for stride in strides) or list(strides) != sorted(set(strides)):
        return f"strides must ascend from 1, got {list(strides)}"
    if len(anchors) != len(strides) or len({len(head) for head in anchors}) != 1 or not anchors[0]:
        return f"anchors must be one equally long list a stride ({len(strides)}), got {[len(head) for head in anchors]}"
    if not all(math.isfinite(side) and side > 0 for head in anchors for anchor in head for side in anchor):
        return "anchors must be positive numbers"
    return _family_problem(grid.family)


def _family_problem(family: object) -> str:
    return "" if family and isinstance(family, str) else f"family must be text, got {family!r}"
