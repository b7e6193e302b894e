"""YOLOv5's building blocks as data: their sizes, weights and geometry, under the names of its checkpoints.

The torch modules for training (`blocks`), the ONNX graph (`provisioning.export`) and the check of a checkpoint are all
made from these. Every part maps (B, C, H, W) to the same layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Activation = Literal["silu", "relu", "leaky_relu"]
Shape = tuple[int, ...]

BN_EPSILON = 1e-3
LEAKY_SLOPE = 0.1
SPPF_KERNEL = 5
SPP_KERNELS = (5, 9, 13)


class _Leaf:
    """A part without parts."""

    __slots__ = ()

    @property
    def children(self) -> Mapping[str, Part]:
        """Its parts by name: none."""
        return {}


@dataclass(frozen=True, slots=True)
class Conv2d(_Leaf):
    """A plain convolution with a square kernel."""

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Norm(_Leaf):
    """Batch normalisation."""

    channels: int


@dataclass(frozen=True, slots=True)
class Act(_Leaf):
    """The network's activation."""


@dataclass(frozen=True, slots=True)
class Pool(_Leaf):
    """The maximum of a square of odd side around each pixel; the size stays."""

    kernel: int


@dataclass(frozen=True, slots=True)
class Double(_Leaf):
    """Twice the height and width, each pixel repeated."""


@dataclass(frozen=True, slots=True)
class Concat(_Leaf):
    """Joins feature maps of one size along the channels."""


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution, batch normalisation, activation; padded so that stride 1 keeps the size, or by `pad` pixels."""

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    pad: int = -1

    @property
    def conv(self) -> Conv2d:
        """The convolution, without bias."""
        padding = self.kernel // 2 if self.pad < 0 else self.pad
        return Conv2d(self.inputs, self.outputs, self.kernel, self.stride, padding)

    @property
    def children(self) -> Mapping[str, Part]:
        """Its parts by name."""
        return {"conv": self.conv, "bn": Norm(self.outputs), "act": Act()}


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """1x1 then 3x3 convolution; with `shortcut`, the input is added to the output."""

    channels: int
    shortcut: bool

    @property
    def cv1(self) -> Conv:
        """The first convolution."""
        return Conv(self.channels, self.channels)

    @property
    def cv2(self) -> Conv:
        """The second one."""
        return Conv(self.channels, self.channels, 3)

    @property
    def children(self) -> Mapping[str, Part]:
        """Its parts by name."""
        return {"cv1": self.cv1, "cv2": self.cv2}


@dataclass(frozen=True, slots=True)
class C3:
    """Cross-stage-partial block: half of the channels (cv1) pass `depth` bottlenecks, cv3 joins them with cv2's."""

    inputs: int
    outputs: int
    depth: int
    shortcut: bool

    @property
    def branch(self) -> Conv:
        """The form of cv1 and cv2."""
        return Conv(self.inputs, self.outputs // 2)

    @property
    def cv3(self) -> Conv:
        """The convolution that joins both halves."""
        return Conv(self.outputs // 2 * 2, self.outputs)

    @property
    def m(self) -> tuple[Bottleneck, ...]:
        """The bottlenecks, in order."""
        return (Bottleneck(self.outputs // 2, self.shortcut),) * self.depth

    @property
    def children(self) -> Mapping[str, Part]:
        """Its parts by name."""
        blocks = {f"m.{index}": block for index, block in enumerate(self.m)}
        return {"cv1": self.branch, "cv2": self.branch, "cv3": self.cv3, **blocks}


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Spatial pyramid pooling: what cv1 gives and three maxima of it, joined by cv2.

    In `SPP` the maxima stand side by side; in `SPPF` one follows the other, which gives 5x5, 9x9 and 13x13 as well.
    """

    inputs: int
    outputs: int

    @property
    def cv1(self) -> Conv:
        """The convolution before the maxima."""
        return Conv(self.inputs, self.inputs // 2)

    @property
    def cv2(self) -> Conv:
        """The convolution behind them."""
        return Conv(self.inputs // 2 * (1 + len(SPP_KERNELS)), self.outputs)


@dataclass(frozen=True, slots=True)
class SPPF(Pyramid):
    """The pyramid of releases 6 and 7."""

    @property
    def children(self) -> Mapping[str, Part]:
        """Its parts by name."""
        return {"cv1": self.cv1, "cv2": self.cv2, "m": Pool(SPPF_KERNEL)}


@dataclass(frozen=True, slots=True)
class SPP(Pyramid):
    """The pyramid of release 5."""

    @property
    def children(self) -> Mapping[str, Part]:
        """Its parts by name."""
        pools = {f"m.{index}": Pool(kernel) for index, kernel in enumerate(SPP_KERNELS)}
        return {"cv1": self.cv1, "cv2": self.cv2, **pools}


@dataclass(frozen=True, slots=True)
class Focus:
    """Stem of release 5: the four pixels of each 2x2 square become channels; then a 3x3 convolution."""

    inputs: int
    outputs: int

    @property
    def conv(self) -> Conv:
        """The convolution over the squares."""
        return Conv(self.inputs * 4, self.outputs, 3)

    @property
    def children(self) -> Mapping[str, Part]:
        """Its parts by name."""
        return {"conv": self.conv}


@dataclass(frozen=True, slots=True)
class Detect:
    """The heads: a 1x1 convolution for each stride, with `5 + classes` logits for each anchor."""

    inputs: tuple[int, ...]
    anchors_per_head: int
    classes: int

    @property
    def m(self) -> tuple[Conv2d, ...]:
        """The convolutions, smallest stride first."""
        return tuple(
            Conv2d(channels, self.anchors_per_head * (5 + self.classes), bias=True) for channels in self.inputs
        )

    @property
    def children(self) -> Mapping[str, Part]:
        """Its parts by name."""
        return {f"m.{index}": head for index, head in enumerate(self.m)}


Layer: TypeAlias = Conv | C3 | SPPF | SPP | Focus | Double | Concat | Detect
Part: TypeAlias = Layer | Bottleneck | Conv2d | Norm | Act | Pool


def walk(part: Part, name: str) -> Iterator[tuple[str, Part]]:
    """The part and all parts in it, each with its dotted name; that of `part` is `name`."""
    yield name, part
    for child, inner in part.children.items():
        yield from walk(inner, f"{name}.{child}")


def weights(part: Part) -> dict[str, Shape]:
    """Names and shapes of the part's own parameters and buffers, without those of its parts."""
    match part:
        case Conv2d():
            kernel = {"weight": (part.outputs, part.inputs, part.kernel, part.kernel)}
            return {**kernel, "bias": (part.outputs,)} if part.bias else dict[str, Shape](kernel)
        case Norm():
            names = ("weight", "bias", "running_mean", "running_var")
            return {**dict.fromkeys(names, (part.channels,)), "num_batches_tracked": ()}
    return {}


def geometry(part: Part) -> dict[str, object]:
    """What decides the part's result beside its weights, under the names that torch's modules have for it."""
    match part:
        case Conv2d():
            return {"stride": part.stride, "padding": part.padding, "dilation": 1, "groups": 1}
        case Pool():
            return {"kernel_size": part.kernel, "stride": 1, "padding": part.kernel // 2}
        case Norm():
            return {"eps": BN_EPSILON}
        case Bottleneck():
            return {"add": part.shortcut}
    return {}
