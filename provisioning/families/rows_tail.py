"""Writes the nodes that bring a graph's finished boxes into the form of a list: `rows` (B, N, 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edged.core.decode import ROWS


class RowsTail:
    """Appends the nodes that make `rows`, at opset 17.

    Args:
        graph: changed in place.
        outputs: its tensors, by what they are: `rows`; or `boxes`, `scores`, `labels`; or `boxes`, `logits`.
    """

    def __init__(self, graph: onnx.GraphProto, outputs: Mapping[str, str]) -> None:
        self._graph, self._outputs = graph, outputs

    def as_they_are(self) -> None:
        """The graph has such rows."""
        self._node("Identity", [self._outputs["rows"]], ROWS)

    def finished(self) -> None:
        """Join boxes, scores and labels."""
        last = self._integers("last", [-1])
        labels = self._node("Cast", [self._outputs["labels"]], "labels", to=TensorProto.FLOAT)
        columns = [
            self._node("Unsqueeze", [each, last], name)
            for each, name in ((self._outputs["scores"], "score"), (labels, "class"))
        ]
        self._node("Concat", [self._outputs["boxes"], *columns], ROWS, axis=-1)

    def of_logits(self, input_wh: tuple[int, int]) -> None:
        """Take the best class of each box; boxes come as centre and size in fractions of the picture."""
        scores = self._node("Sigmoid", [self._outputs["logits"]], "scores")
        best = self._node("ReduceMax", [scores], "score", axes=[-1], keepdims=1)
        number = self._node("ArgMax", [scores], "number", axis=-1, keepdims=1)
        label = self._node("Cast", [number], "class", to=TensorProto.FLOAT)
        sides = self._keep("sides", np.array([*input_wh, *input_wh], np.float32))
        box = self._node("Mul", [self._outputs["boxes"], sides], "box")
        split = self._integers("two", [2, 2])
        self._graph.node.append(helper.make_node("Split", [box, split], [f"{ROWS}/centre", f"{ROWS}/size"], axis=-1))
        half = self._node("Mul", [f"{ROWS}/size", self._keep("half", np.array(0.5, np.float32))], "halved")
        first = self._node("Sub", [f"{ROWS}/centre", half], "first")
        last = self._node("Add", [f"{ROWS}/centre", half], "last")
        self._node("Concat", [first, last, best, label], ROWS, axis=-1)

    def _integers(self, name: str, values: list[int]) -> str:
        return self._keep(name, np.array(values, np.int64))

    def _keep(self, name: str, value: np.ndarray[Any, Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, f"{ROWS}/{name}"))
        return f"{ROWS}/{name}"

    def _node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401 (onnx.helper's)
        output = name if name == ROWS else f"{ROWS}/{name}"
        self._graph.node.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output
