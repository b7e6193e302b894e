"""YOLOv5's building blocks, written from its published description; parameter names are those of its checkpoints.

Every block maps (B, C, H, W) float32 to the same layout and has `fused()`: the same function for inference, with
batch normalisation folded into the convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["silu", "relu", "leaky_relu"]

BN_EPSILON = 1e-3
BN_MOMENTUM = 0.03
LEAKY_SLOPE = 0.1

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
}


class Conv(nn.Module):
    """Convolution, batch normalisation, activation; padded so that stride 1 keeps the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        padding: int | None = None,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        pad = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=False)
        self.bn: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs, eps=BN_EPSILON, momentum=BN_MOMENTUM)
        self.act = _ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y

    @torch.no_grad()
    def fuse(self) -> None:
        """Fold the normalisation into the convolution, in place; a second call does nothing.

        Raises:
            ValueError: the normalisation has no running statistics.
        """
        if not isinstance(self.bn, nn.BatchNorm2d):
            return
        mean, variance = self.bn.running_mean, self.bn.running_var
        if mean is None or variance is None:
            raise ValueError("batch normalisation without running statistics cannot be folded")
        scale = self.bn.weight.double() / torch.sqrt(variance.double() + self.bn.eps)
        weight = self.conv.weight.double() * scale[:, None, None, None]
        bias = self.bn.bias.double() - mean.double() * scale
        self._replace(weight.to(self.conv.weight), bias.to(self.conv.weight))

    def _replace(self, weight: Tensor, bias: Tensor) -> None:
        old = self.conv
        outputs, inputs, kernel, _ = weight.shape
        stride, padding = old.stride[0], old.padding[0]
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, device=weight.device, dtype=weight.dtype)
        self.conv.weight.copy_(weight)
        if self.conv.bias is not None:
            self.conv.bias.copy_(bias)
        self.bn = nn.Identity()


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution; with `shortcut`, the input is added to the output."""

    def __init__(self, channels: int, *, shortcut: bool, activation: Activation) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 1, activation=activation)
        self.cv2 = Conv(channels, channels, 3, activation=activation)
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    """Cross-stage-partial block: half of the channels pass `depth` bottlenecks, then all are joined."""

    def __init__(self, inputs: int, outputs: int, *, depth: int, shortcut: bool, activation: Activation) -> None:
        super().__init__()
        hidden = outputs // 2
        self.cv1 = Conv(inputs, hidden, activation=activation)
        self.cv2 = Conv(inputs, hidden, activation=activation)
        self.cv3 = Conv(2 * hidden, outputs, activation=activation)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut=shortcut, activation=activation) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        y: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
        return y


class SPPF(nn.Module):
    """Spatial pyramid pooling of releases 6 and 7: a 5x5 maximum applied three times, which gives 5x5, 9x9, 13x13."""

    def __init__(self, inputs: int, outputs: int, *, activation: Activation) -> None:
        super().__init__()
        hidden = inputs // 2
        self.cv1 = Conv(inputs, hidden, activation=activation)
        self.cv2 = Conv(hidden * 4, outputs, activation=activation)
        self.m = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        pooled = [self.cv1(x)]
        for _ in range(3):
            pooled.append(self.m(pooled[-1]))
        y: Tensor = self.cv2(torch.cat(pooled, 1))
        return y


class SPP(nn.Module):
    """Spatial pyramid pooling of release 5: maxima of 5x5, 9x9 and 13x13 side by side."""

    KERNELS = (5, 9, 13)

    def __init__(self, inputs: int, outputs: int, *, activation: Activation) -> None:
        super().__init__()
        hidden = inputs // 2
        self.cv1 = Conv(inputs, hidden, activation=activation)
        self.cv2 = Conv(hidden * (1 + len(self.KERNELS)), outputs, activation=activation)
        self.m = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in self.KERNELS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        x = self.cv1(x)
        y: Tensor = self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))
        return y


class Focus(nn.Module):
    """Stem of release 5: the four pixels of each 2x2 square become channels; then a 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int, *, activation: Activation) -> None:
        super().__init__()
        self.conv = Conv(inputs * 4, outputs, 3, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/2, W/2)."""
        corners = (x[..., row::2, column::2] for column in (0, 1) for row in (0, 1))
        y: Tensor = self.conv(torch.cat(tuple(corners), 1))
        return y

    @torch.no_grad()
    def as_conv(self) -> Conv:
        """The same function as one fused 6x6 convolution of stride 2, which every backend runs well.

        A 3x3 kernel over 2x2 squares touches 6x6 pixels: tap (2*ky + row, 2*kx + column) of the new kernel is tap
        (ky, kx) of the channel block that Focus made of corner (row, column).
        """
        self.conv.fuse()
        old = self.conv.conv
        outputs, quadrupled = old.weight.shape[:2]
        inputs = quadrupled // 4
        blocks = old.weight.reshape(outputs, 2, 2, inputs, 3, 3)  # (O, column, row, I, ky, kx)
        weight = blocks.permute(0, 3, 4, 2, 5, 1).reshape(outputs, inputs, 6, 6)  # (O, I, ky+row, kx+column)
        conv = Conv(inputs, outputs, 6, 2, padding=2)
        conv.act = self.conv.act
        conv.to(old.weight)
        conv._replace(weight, old.bias if old.bias is not None else torch.zeros(outputs))
        return conv


class Concat(nn.Module):
    """Concatenates feature maps of one size along the channels."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, C1, H, W), (B, C2, H, W) -> (B, C1 + C2, H, W)."""
        return torch.cat(tuple(maps), 1)


class Detect(nn.Module):
    """The heads: a 1x1 convolution for each stride, with `5 + classes` logits for each anchor. It does not decode."""

    def __init__(self, inputs: Sequence[int], *, anchors_per_head: int, classes: int) -> None:
        super().__init__()
        self.m = nn.ModuleList(nn.Conv2d(channels, anchors_per_head * (5 + classes), 1) for channels in inputs)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(B, C, H, W) for each head -> logits (B, anchors*(5+classes), H, W) for each head."""
        return tuple(conv(x) for conv, x in zip(self.m, maps, strict=True))

    @torch.no_grad()
    def set_prior(self, strides: Sequence[int], *, classes: int) -> None:
        """Shift the biases to the published prior: 8 objects in a 640x640 picture, all classes equally likely.

        Focal loss (Lin et al. 2017, section 3.3) gives the reason: training starts near the true rate of objects.
        """
        for conv, stride in zip(self.m, strides, strict=True):
            bias = conv.bias
            if not isinstance(bias, nn.Parameter):
                raise TypeError("a head without bias has no prior to set")
            table = bias.view(-1, 5 + classes)  # (anchors, 5 + classes)
            table[:, 4] += math.log(8 / (640 / stride) ** 2)
            table[:, 5:] += math.log(0.6 / (classes - 0.99999))
