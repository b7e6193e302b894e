"""The YOLOv5 network as data, sizes n s m l x, of releases 6.0 to 7.0 and of 5.0.

Source: the layer tables and the depth and width multiples published with YOLOv5 (`yolov5n.yaml` ... `yolov5x.yaml`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from provisioning.model import parts
from provisioning.model.parts import Activation, Part, Shape

Size = Literal["n", "s", "m", "l", "x"]
Release = Literal["5", "6"]
Anchors = Sequence[Sequence[Sequence[float]]]
AnchorTable: TypeAlias = tuple[tuple[tuple[float, float], ...], ...]

STRIDES = (8, 16, 32)
COCO_ANCHORS: AnchorTable = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)


class Multiples(NamedTuple):
    """Factors of a size: `depth` on the repeats of C3, `width` on the channels."""

    depth: float
    width: float


SIZES: dict[Size, Multiples] = {
    "n": Multiples(0.33, 0.25),
    "s": Multiples(0.33, 0.50),
    "m": Multiples(0.67, 0.75),
    "l": Multiples(1.00, 1.00),
    "x": Multiples(1.33, 1.25),
}


class Row(NamedTuple):
    """One row of the published table. `source` holds indices of layers from 0; -1 is the layer before."""

    kind: Literal["focus", "stem", "conv1", "conv3", "c3", "c3_plain", "spp", "sppf", "up", "concat", "detect"]
    channels: int = 0
    repeats: int = 1
    source: tuple[int, ...] = (-1,)


_BACKBONE_5 = (
    Row("focus", 64),
    Row("conv3", 128),
    Row("c3", 128, 3),
    Row("conv3", 256),
    Row("c3", 256, 9),
    Row("conv3", 512),
    Row("c3", 512, 9),
    Row("conv3", 1024),
    Row("spp", 1024),
    Row("c3_plain", 1024, 3),
)
_BACKBONE_6 = (
    Row("stem", 64),
    Row("conv3", 128),
    Row("c3", 128, 3),
    Row("conv3", 256),
    Row("c3", 256, 6),
    Row("conv3", 512),
    Row("c3", 512, 9),
    Row("conv3", 1024),
    Row("c3", 1024, 3),
    Row("sppf", 1024),
)
_HEAD = (
    Row("conv1", 512),
    Row("up"),
    Row("concat", source=(-1, 6)),
    Row("c3_plain", 512, 3),
    Row("conv1", 256),
    Row("up"),
    Row("concat", source=(-1, 4)),
    Row("c3_plain", 256, 3),  # 17: stride 8
    Row("conv3", 256),
    Row("concat", source=(-1, 14)),
    Row("c3_plain", 512, 3),  # 20: stride 16
    Row("conv3", 512),
    Row("concat", source=(-1, 10)),
    Row("c3_plain", 1024, 3),  # 23: stride 32
    Row("detect", source=(17, 20, 23)),
)
TABLES: dict[Release, tuple[Row, ...]] = {"5": _BACKBONE_5 + _HEAD, "6": _BACKBONE_6 + _HEAD}


@dataclass(frozen=True, slots=True)
class Description:
    """Everything of a YOLOv5 but its weights; `describe` makes one.

    Attributes:
        size: n, s, m, l or x.
        release: `6` for 6.0 to 7.0 (6x6 stem, SPPF), `5` for 5.0 (Focus, SPP before the last C3).
        classes: at least 1.
        anchors: (width, height) in network pixels of each anchor of each head, smallest stride first.
        channels: of the pictures.
        activation: of every convolution except the heads.
        table: the published rows.
        strides: network pixels per cell of each head.
    """

    size: Size
    release: Release
    classes: int
    anchors: AnchorTable
    channels: int
    activation: Activation
    table: tuple[Row, ...]
    strides: tuple[int, ...] = STRIDES

    def layers(self) -> tuple[parts.Layer, ...]:
        """The layers in the order of the table; the last one holds the heads."""
        widths: list[int] = []
        made: list[parts.Layer] = []
        for row in self.table:
            previous = widths[-1] if widths else self.channels
            inputs = tuple(previous if index == -1 else widths[index] for index in row.source)
            made.append(self._layer(row, inputs))
            widths.append(scaled_channels(row.channels, self.size) if row.channels else sum(inputs))
        return tuple(made)

    def walk(self) -> Iterator[tuple[str, Part]]:
        """Every layer and all parts in it, by the dotted names of a checkpoint (`model.2.cv1.conv`)."""
        for index, layer in enumerate(self.layers()):
            yield from parts.walk(layer, f"model.{index}")

    def weights(self) -> dict[str, Shape]:
        """Names and shapes of all parameters and buffers, as a checkpoint has them; anchors are not among them."""
        return {f"{name}.{own}": shape for name, part in self.walk() for own, shape in parts.weights(part).items()}

    def _layer(self, row: Row, inputs: tuple[int, ...]) -> parts.Layer:
        first, outputs = inputs[0], scaled_channels(row.channels, self.size)
        match row.kind:
            case "focus":
                return parts.Focus(first, outputs)
            case "stem":
                return parts.Conv(first, outputs, kernel=6, stride=2, pad=2)
            case "conv1":
                return parts.Conv(first, outputs)
            case "conv3":
                return parts.Conv(first, outputs, kernel=3, stride=2)
            case "c3" | "c3_plain":
                return parts.C3(first, outputs, scaled_depth(row.repeats, self.size), shortcut=row.kind == "c3")
            case "spp":
                return parts.SPP(first, outputs)
            case "sppf":
                return parts.SPPF(first, outputs)
            case "up":
                return parts.Double()
            case "concat":
                return parts.Concat()
            case "detect":
                return parts.Detect(inputs, len(self.anchors[0]), self.classes)


def describe(
    size: Size,
    *,
    classes: int,
    anchors: Anchors = COCO_ANCHORS,
    release: Release = "6",
    channels: int = 3,
    activation: Activation = "silu",
) -> Description:
    """Describe a network; the arguments are those of `Description`.

    Raises:
        ValueError: the size or release is unknown, there is no class or channel, or the anchors have another shape or
            are not positive.
    """
    if size not in SIZES or release not in TABLES or classes < 1 or channels < 1:
        raise ValueError(
            f"expected a size of {'/'.join(SIZES)}, a release of {'/'.join(TABLES)}, at least one class and channel; "
            f"got size {size!r}, release {release!r}, {classes} classes, {channels} channels"
        )
    return Description(size, release, classes, _anchor_table(anchors), channels, activation, TABLES[release])


def scaled_channels(channels: int, size: Size) -> int:
    """Channels of a table row in a model of `size`: scaled, then rounded up to a multiple of 8."""
    return math.ceil(channels * SIZES[size].width / 8) * 8


def scaled_depth(repeats: int, size: Size) -> int:
    """Number of bottlenecks of a C3 row in a model of `size`, at least 1."""
    return max(round(repeats * SIZES[size].depth), 1)


def _anchor_table(anchors: Anchors) -> AnchorTable:
    try:
        table = tuple(tuple((float(w), float(h)) for w, h in head) for head in anchors)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"anchors must be {len(STRIDES)} lists of (width, height): {exc}") from exc
    if len(table) != len(STRIDES) or not table[0] or len({len(head) for head in table}) > 1:
        counts = ", ".join(str(len(head)) for head in table) or "none"
        raise ValueError(f"anchors must be {len(STRIDES)} equally long lists of (width, height), got lists of {counts}")
    if not all(math.isfinite(side) and side > 0 for head in table for anchor in head for side in anchor):
        raise ValueError("anchors must be positive numbers")
    return table
