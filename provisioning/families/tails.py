"""Writes the nodes that make grid heads of a family's maps: `box_code.py` has the formulae."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from provisioning.families.box_code import SIDES, BoxCode

LEAST_SCORE = 1e-6  # of all classes of a cell; keeps 0 / 0 out where all scores round to 0, also in FP16


@dataclass(frozen=True, slots=True)
class Maps:
    """The maps of one level, by their meaning.

    Attributes:
        stride: network pixels per cell.
        box: name of the tensor with box values.
        classes: name of the tensor with one value a class.
        objectness: name of the tensor with one value; empty without.
        cells_wh: columns and rows.
    """

    stride: int
    box: str
    classes: str
    objectness: str
    cells_wh: tuple[int, int]


class Tail:
    """Appends the nodes of one head to a graph of opset 13 to 17.

    Args:
        graph: changed in place; the maps are tensors in it.
        output: name of the head.
    """

    def __init__(self, graph: onnx.GraphProto, output: str) -> None:
        self._graph, self._output = graph, output

    def add(self, maps: Maps, code: BoxCode, *, squash: Sequence[str]) -> None:
        """Make the head (B, 5 + classes, H, W): box, objectness, classes.

        Args:
            maps: the level.
            code: of its box.
            squash: names of the maps that are logits.
        """
        classes, objectness = (self._squashed(name, squash) for name in (maps.classes, maps.objectness))
        box = self._size_box(maps.box) if code.kind == "size" else self._sides_box(maps, code)
        if not objectness:
            best = self._node("ReduceMax", [classes], "best", axes=[1], keepdims=1)
            objectness = self._node("Max", [best, self._constant("least", LEAST_SCORE)], "objectness")
            classes = self._node("Div", [classes, objectness], "classes")
        self._graph.node.append(
            helper.make_node("Concat", [*box, objectness, classes], [self._output], name=self._output, axis=1)
        )

    def _squashed(self, name: str, squash: Sequence[str]) -> str:
        if name not in squash:
            return name
        return self._node("Sigmoid", [name], f"squashed{list(squash).index(name)}")

    def _size_box(self, values: str) -> list[str]:
        half = self._constant("half", 0.5)
        centre, size = self._channels(values, 0, 2, "centre"), self._channels(values, 2, SIDES, "size")
        centre = self._node("Mul", [self._node("Add", [centre, half], "shifted"), half], "xy")
        root = self._node("Exp", [self._node("Mul", [size, half], "halved")], "root")
        return [centre, self._node("Mul", [root, half], "wh")]

    def _sides_box(self, maps: Maps, code: BoxCode) -> list[str]:
        sides = self._mean(maps, code.bins) if code.bins else maps.box
        per_cell = maps.stride if code.in_pixels else 1
        near, far = self._channels(sides, 0, 2, "near"), self._channels(sides, 2, SIDES, "far")
        quarter = self._constant("quarter", 0.25 / per_cell)
        middle = self._constant("middle", (code.offset + 0.5) / 2)
        moved = self._node("Mul", [self._node("Sub", [far, near], "difference"), quarter], "moved")
        # A sum below 0 is no box; the root of it would be NaN.
        size = self._node("Relu", [self._node("Add", [near, far], "sum")], "extent")
        scaled = self._node("Mul", [size, self._constant("scale", 0.25 / per_cell)], "scaled")
        return [self._node("Add", [moved, middle], "xy"), self._node("Sqrt", [scaled], "wh")]

    def _mean(self, maps: Maps, bins: int) -> str:
        width, height = maps.cells_wh
        shape = self._integers("shape", [0, SIDES, bins, height, width])
        split = self._node("Reshape", [maps.box, shape], "bins")
        weights = self._node("Softmax", [split], "weights", axis=2)
        numbers = np.arange(bins, dtype=np.float32).reshape(1, 1, bins, 1, 1)
        weighted = self._node("Mul", [weights, self._constant("numbers", numbers)], "weighted")
        return self._node("ReduceSum", [weighted, self._integers("axis", [2])], "sides", keepdims=0)

    def _channels(self, tensor: str, first: int, end: int, name: str) -> str:
        bounds = [self._integers(f"{name}/{part}", [value]) for part, value in (("from", first), ("to", end))]
        return self._node("Slice", [tensor, *bounds, self._integers(f"{name}/of", [1])], name)

    def _constant(self, name: str, value: object) -> str:
        return self._keep(name, np.asarray(value, np.float32))

    def _integers(self, name: str, values: list[int]) -> str:
        return self._keep(name, np.asarray(values, np.int64))

    def _keep(self, name: str, value: np.ndarray[Any, Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, f"{self._output}/{name}"))
        return f"{self._output}/{name}"

    def _node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401 (onnx.helper's)
        output = f"{self._output}/{name}"
        self._graph.node.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output
