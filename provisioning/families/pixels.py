"""What a network wants as its picture, where the daemon gives RGB of 0..1; put into the graph as its first nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edged.core.types import Floats

COLOURS = 3


@dataclass(frozen=True, slots=True)
class Pixels:
    """Preprocessing of a family: the order of colours, and value * 255 / deviation - mean / deviation.

    Attributes:
        name: as `--pixels` takes it.
        bgr: blue first.
        mean: to subtract, of each colour in the network's order, in 0..255.
        deviation: to divide by, likewise; 255 leaves 0..1.
    """

    name: str
    bgr: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (255.0, 255.0, 255.0)

    @property
    def unchanged(self) -> bool:
        """Whether the network takes what the daemon gives."""
        return self == Pixels(self.name)

    def of(self, images: Floats) -> Floats:
        """(B, 3, H, W) float32 RGB of 0..1, as the network wants it."""
        ordered = images[:, ::-1] if self.bgr else images
        factor, summand = self._line()
        return np.ascontiguousarray(ordered * factor + summand, np.float32)

    def put_before(self, graph: onnx.GraphProto, *, given: str, wanted: str) -> None:
        """Add the nodes that make `wanted` of `given`, in front of all others.

        Args:
            graph: changed in place.
            given: tensor of RGB in 0..1.
            wanted: tensor that the network reads.
        """
        nodes: list[onnx.NodeProto] = []
        last = given
        if self.bgr:
            graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), f"{wanted}/order"))
            nodes.append(helper.make_node("Gather", [last, f"{wanted}/order"], [f"{wanted}/bgr"], axis=1))
            last = f"{wanted}/bgr"
        factor, summand = self._line()
        steps = [("Mul", factor)] + ([("Add", summand)] if summand.any() else [])
        for kind, value in steps:
            name = f"{wanted}/{kind.lower()}"
            graph.initializer.append(numpy_helper.from_array(value, f"{name}/value"))
            nodes.append(helper.make_node(kind, [last, f"{name}/value"], [name], name=name))
            last = name
        nodes[-1].output[0] = wanted
        for node in reversed(nodes):
            graph.node.insert(0, node)

    def _line(self) -> tuple[Floats, Floats]:
        """Factor and summand for each colour, (1, 3, 1, 1) float32."""
        mean, deviation = (np.array(each, np.float64).reshape(1, COLOURS, 1, 1) for each in (self.mean, self.deviation))
        return (255 / deviation).astype(np.float32), (-mean / deviation).astype(np.float32)


RGB = Pixels("rgb")
BGR_255 = Pixels("bgr255", bgr=True, deviation=(1.0, 1.0, 1.0))
RGB_255 = Pixels("rgb255", deviation=(1.0, 1.0, 1.0))
OPENMMLAB = Pixels("bgr-imagenet", bgr=True, mean=(103.53, 116.28, 123.675), deviation=(57.375, 57.12, 58.395))
IMAGENET = Pixels("rgb-imagenet", mean=(123.675, 116.28, 103.53), deviation=(58.395, 57.12, 57.375))
KNOWN: Sequence[Pixels] = (RGB, BGR_255, RGB_255, OPENMMLAB, IMAGENET)  # named in `recognised.PixelName`
