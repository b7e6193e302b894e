"""What a model's outputs mean: a class for each kind. Every part that reads outputs matches on the kind once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edged.core.errors import BundleMismatch

Anchors = tuple[tuple[tuple[float, float], ...], ...]

BOX_CHANNELS = 5  # x, y, w, h and objectness, in front of the classes


@dataclass(frozen=True, slots=True)
class GridDecode:
    """Heads of cells, each with boxes relative to its anchors, objectness and classes; formulae in `cpu/decode.py`.

    Attributes:
        anchors: per head, per anchor (width, height), network pixels.
        strides: network pixels a cell, per head, ascending.
        family: of detectors that the heads come from, e.g. `yolov5`; for people.
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
        """From what `dataclasses.asdict` became in JSON.

        Raises:
            TypeError, ValueError, KeyError: it has another shape.
        """
        anchors = tuple(tuple((float(w), float(h)) for w, h in head) for head in raw["anchors"])
        strides = tuple(int(stride) for stride in raw["strides"])
        return cls(**{**raw, "anchors": anchors, "strides": strides})

    @property
    def multiple(self) -> int:
        """Of which the sides of the network's input must be, pixels."""
        return self.strides[-1]

    def output_shapes(self, *, classes: int, input_wh: tuple[int, int]) -> list[tuple[int, ...]]:
        """Of the model's outputs, without the batch: per head (anchors * (5 + classes), H, W)."""
        width, height = input_wh
        return [
            (len(sizes) * (BOX_CHANNELS + classes), height // stride, width // stride)
            for sizes, stride in zip(self.anchors, self.strides, strict=True)
        ]


Decode = GridDecode


def decode_from_json(raw: Mapping[str, Any]) -> Decode:
    """By its kind.

    Raises:
        TypeError, ValueError, KeyError: it has another shape.
        BundleMismatch: a kind of another release of edged.
    """
    if raw["kind"] == "grid":
        return GridDecode.from_json(raw)
    raise BundleMismatch(
        f"decode {raw['kind']!r} is not known to this edged, which knows grid",
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
    if not grid.family or not isinstance(grid.family, str):
        return f"family must be text, got {grid.family!r}"
    return ""
