"""The YOLOv5 network in torch, made from its description.

`state_dict()` has exactly the names of an official checkpoint (`model.0.conv.weight`, ..., `model.24.m.2.bias`)
except its anchors, which are kept in pixels here and saved beside the weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from provisioning.model import parts
from provisioning.model.blocks import C3, SPP, SPPF, Concat, Conv, Detect, Focus
from provisioning.model.description import COCO_ANCHORS, Anchors, Description, Release, Size, describe
from provisioning.model.parts import Activation


class Yolov5(nn.Module):
    """The YOLOv5 network; `build` makes one.

    Attributes:
        description: of the architecture; its anchors are those that the network began with.
        classes: number of classes.
        strides: network pixels per cell of each head.
        anchors: buffer (3, A, 2) float32, width and height in network pixels; not part of `state_dict()`.
        model: the layers in the order of the published table; the last one is `Detect`.
    """

    anchors: Tensor

    def __init__(self, description: Description) -> None:
        super().__init__()
        self.description = description
        self.classes = description.classes
        self.strides = description.strides
        anchors = torch.tensor(description.anchors, dtype=torch.float32, device="cpu")
        self.register_buffer("anchors", anchors, persistent=False)
        self.model = nn.ModuleList(_layer(part, description.activation) for part in description.layers())
        self.detect.set_prior(self.strides, classes=self.classes)

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
        for row, layer in zip(self.description.table[:-1], self.model, strict=False):
            inputs = [x if index == -1 else outputs[index] for index in row.source]
            x = layer(inputs) if len(inputs) > 1 else layer(inputs[0])
            outputs.append(x)
        heads: tuple[Tensor, ...] = self.detect([outputs[index] for index in self.description.table[-1].source])
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

    The arguments and errors are those of `describe`.
    """
    return Yolov5(
        describe(size, classes=classes, anchors=anchors, release=release, channels=channels, activation=activation)
    )


def _layer(part: parts.Layer, activation: Activation) -> nn.Module:
    match part:
        case parts.Conv():
            return Conv(part, activation)
        case parts.C3():
            return C3(part, activation)
        case parts.SPPF():
            return SPPF(part, activation)
        case parts.SPP():
            return SPP(part, activation)
        case parts.Focus():
            return Focus(part, activation)
        case parts.Double():
            return nn.Upsample(scale_factor=2, mode="nearest")
        case parts.Concat():
            return Concat()
        case parts.Detect():
            return Detect(part)
