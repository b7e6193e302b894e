"""The YOLOv5 network, sizes n s m l x, of releases 6.0 to 7.0 and of 5.0, written from its published description.

Source: the layer tables and the depth and width multiples published with YOLOv5 (`yolov5n.yaml` ... `yolov5x.yaml`).
`state_dict()` has exactly the names of an official checkpoint (`model.0.conv.weight`, ..., `model.24.m.2.bias`)
except its anchors, which are kept in pixels here and saved beside the weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from provisioning.model.blocks import C3, SPP, SPPF, Activation, Concat, Conv, Detect, Focus

Size = Literal["n", "s", "m", "l", "x"]
Release = Literal["5", "6"]
Anchors = Sequence[Sequence[Sequence[float]]]

STRIDES = (8, 16, 32)
COCO_ANCHORS = (
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


class Layer(NamedTuple):
    """One row of the published table. `source` holds indices of layers from 0; -1 is the layer before."""

    kind: Literal["focus", "stem", "conv1", "conv3", "c3", "c3_plain", "spp", "sppf", "up", "concat", "detect"]
    channels: int = 0
    repeats: int = 1
    source: tuple[int, ...] = (-1,)


_BACKBONE_5 = (
    Layer("focus", 64),
    Layer("conv3", 128),
    Layer("c3", 128, 3),
    Layer("conv3", 256),
    Layer("c3", 256, 9),
    Layer("conv3", 512),
    Layer("c3", 512, 9),
    Layer("conv3", 1024),
    Layer("spp", 1024),
    Layer("c3_plain", 1024, 3),
)
_BACKBONE_6 = (
    Layer("stem", 64),
    Layer("conv3", 128),
    Layer("c3", 128, 3),
    Layer("conv3", 256),
    Layer("c3", 256, 6),
    Layer("conv3", 512),
    Layer("c3", 512, 9),
    Layer("conv3", 1024),
    Layer("c3", 1024, 3),
    Layer("sppf", 1024),
)
_HEAD = (
    Layer("conv1", 512),
    Layer("up"),
    Layer("concat", source=(-1, 6)),
    Layer("c3_plain", 512, 3),
    Layer("conv1", 256),
    Layer("up"),
    Layer("concat", source=(-1, 4)),
    Layer("c3_plain", 256, 3),  # 17: stride 8
    Layer("conv3", 256),
    Layer("concat", source=(-1, 14)),
    Layer("c3_plain", 512, 3),  # 20: stride 16
    Layer("conv3", 512),
    Layer("concat", source=(-1, 10)),
    Layer("c3_plain", 1024, 3),  # 23: stride 32
    Layer("detect", source=(17, 20, 23)),
)
LAYERS: dict[Release, tuple[Layer, ...]] = {"5": _BACKBONE_5 + _HEAD, "6": _BACKBONE_6 + _HEAD}


class Yolov5(nn.Module):
    """The YOLOv5 network; `build` makes one.

    Attributes:
        size: n, s, m, l or x.
        release: `6` for 6.0 to 7.0, `5` for 5.0.
        classes: number of classes.
        strides: network pixels per cell of each head.
        anchors: buffer (3, A, 2) float32, width and height in network pixels; not part of `state_dict()`.
        model: the layers in the order of the published table; the last one is `Detect`.
        activation: of every convolution except the heads.
    """

    anchors: Tensor

    def __init__(
        self, size: Size, release: Release, classes: int, anchors: Tensor, channels: int, activation: Activation
    ) -> None:
        super().__init__()
        self.size: Size = size
        self.release: Release = release
        self.classes = classes
        self.channels = channels
        self.activation: Activation = activation
        self.strides = STRIDES
        self.register_buffer("anchors", anchors, persistent=False)
        self.table = LAYERS[release]
        self.model = _layers(self)
        self.detect.set_prior(self.strides, classes=classes)

    @property
    def detect(self) -> Detect:
        """The last layer, which holds the heads."""
        layer = self.model[len(self.model) - 1]
        if not isinstance(layer, Detect):
            raise TypeError(f"the last layer is {type(layer).__name__}, not Detect")
        return layer

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The raw heads, the same in training and in evaluation mode.

        Args:
            images: (B, channels, H, W) float, RGB in 0..1, H and W multiples of 32.

        Returns:
            Three tensors (B, A, H/stride, W/stride, 5+classes) of logits t: x, y, w, h, objectness, classes. With
            s = sigmoid(t) a box in network pixels is xy = (2*s_xy - 0.5 + cell) * stride, wh = (2*s_wh)**2 * anchor.
        """
        per_anchor = 5 + self.classes
        return tuple(
            head.view(head.shape[0], -1, per_anchor, *head.shape[2:]).permute(0, 1, 3, 4, 2).contiguous()
            for head in self._heads(images)
        )

    def sigmoid_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the exported graph: three tensors (B, A*(5+classes), H/stride, W/stride) in 0..1."""
        return tuple(head.sigmoid() for head in self._heads(images))

    def fused(self) -> Yolov5:
        """A copy for inference: batch normalisation folded, Focus as one convolution, evaluation mode, no gradients."""
        twin = copy.deepcopy(self).eval()
        for index, layer in enumerate(twin.model):
            if isinstance(layer, Focus):
                twin.model[index] = layer.as_conv()
        for module in twin.modules():
            if isinstance(module, Conv):
                module.fuse()
        return twin.requires_grad_(requires_grad=False)

    def _heads(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, three of (B, A*(5+classes), H/stride, W/stride)."""
        outputs: list[Tensor] = []
        x = images
        for row, layer in zip(self.table[:-1], self.model, strict=False):
            inputs = [x if index == -1 else outputs[index] for index in row.source]
            x = layer(inputs) if len(inputs) > 1 else layer(inputs[0])
            outputs.append(x)
        heads: tuple[Tensor, ...] = self.detect([outputs[index] for index in self.table[-1].source])
        return heads


def build(
    size: Size,
    *,
    classes: int,
    anchors: Anchors = COCO_ANCHORS,
    release: Release = "6",
    channels: int = 3,
    activation: Activation = "silu",
) -> Yolov5:
    """Make a network with initial weights (PyTorch's defaults, heads at the published prior), in training mode.

    Args:
        size: n, s, m, l or x.
        classes: at least 1.
        anchors: for each head (strides 8, 16, 32) and each of its anchors, (width, height) in network pixels.
        release: `6` for releases 6.0 to 7.0 (6x6 stem, SPPF), `5` for 5.0 (Focus, SPP before the last C3).
        channels: of the pictures.
        activation: `silu` in every official model.

    Raises:
        ValueError: the size or release is unknown, there is no class or channel, or the anchors have another shape or
            are not positive.
    """
    if size not in SIZES or release not in LAYERS or classes < 1 or channels < 1:
        raise ValueError(
            f"expected a size of {'/'.join(SIZES)}, a release of {'/'.join(LAYERS)}, at least one class and channel; "
            f"got size {size!r}, release {release!r}, {classes} classes, {channels} channels"
        )
    try:
        table = torch.tensor(anchors, dtype=torch.float32, device="cpu")
    except (TypeError, ValueError) as exc:
        raise ValueError(f"anchors must be {len(STRIDES)} equally long lists of (width, height): {exc}") from exc
    if table.ndim != 3 or table.shape[0] != len(STRIDES) or table.shape[2] != 2 or not table.numel():  # noqa: PLR2004
        raise ValueError(f"anchors must be ({len(STRIDES)}, A, 2) pixels, got {tuple(table.shape)}")
    if not bool(torch.isfinite(table).all() & (table > 0).all()):
        raise ValueError("anchors must be positive numbers")
    return Yolov5(size, release, classes, table, channels, activation)


def scaled_channels(channels: int, size: Size) -> int:
    """Channels of a table row in a model of `size`: scaled, then rounded up to a multiple of 8."""
    return math.ceil(channels * SIZES[size].width / 8) * 8


def scaled_depth(repeats: int, size: Size) -> int:
    """Number of bottlenecks of a C3 row in a model of `size`, at least 1."""
    return max(round(repeats * SIZES[size].depth), 1)


def _layers(net: Yolov5) -> nn.ModuleList:
    """The modules of `net.table`, in order."""
    widths: list[int] = []
    layers = nn.ModuleList()
    for row in net.table:
        previous = widths[-1] if widths else net.channels
        inputs = [previous if index == -1 else widths[index] for index in row.source]
        layers.append(_layer(row, inputs, net))
        widths.append(scaled_channels(row.channels, net.size) if row.channels else sum(inputs))
    return layers


def _layer(row: Layer, inputs: list[int], net: Yolov5) -> nn.Module:
    """One module of the table."""
    first, outputs, act = inputs[0], scaled_channels(row.channels, net.size), net.activation
    match row.kind:
        case "focus":
            return Focus(first, outputs, activation=act)
        case "stem":
            return Conv(first, outputs, 6, 2, padding=2, activation=act)
        case "conv1" | "conv3":
            kernel, stride = (1, 1) if row.kind == "conv1" else (3, 2)
            return Conv(first, outputs, kernel, stride, activation=act)
        case "c3" | "c3_plain":
            depth = scaled_depth(row.repeats, net.size)
            return C3(first, outputs, depth=depth, shortcut=row.kind == "c3", activation=act)
        case "spp" | "sppf":
            return (SPP if row.kind == "spp" else SPPF)(first, outputs, activation=act)
        case "up":
            return nn.Upsample(scale_factor=2, mode="nearest")
        case "concat":
            return Concat()
        case "detect":
            return Detect(inputs, anchors_per_head=net.anchors.shape[1], classes=net.classes)
