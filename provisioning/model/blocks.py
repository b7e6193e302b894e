"""YOLOv5's building blocks in torch, made from their `parts`; parameter names are those of its checkpoints.

Every block maps (B, C, H, W) float32 to the same layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from provisioning.model import parts
from provisioning.model.folding import focus_kernel, folded
from provisioning.model.parts import BN_EPSILON, LEAKY_SLOPE, Activation

BN_MOMENTUM = 0.03

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
}


def plain_conv(part: parts.Conv2d) -> nn.Conv2d:
    """The convolution of a part, with PyTorch's initial weights."""
    return nn.Conv2d(part.inputs, part.outputs, part.kernel, part.stride, part.padding, bias=part.bias)


class Conv(nn.Module):
    """Convolution, batch normalisation, activation; padded so that stride 1 keeps the size."""

    def __init__(self, part: parts.Conv, activation: Activation) -> None:
        super().__init__()
        self.conv = plain_conv(part.conv)
        self.bn: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(part.outputs, eps=BN_EPSILON, momentum=BN_MOMENTUM)
        self.act = _ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y

    @torch.no_grad()
    def fuse(self) -> None:
        """Fold the normalisation into the convolution, in place; a second call does nothing."""
        if isinstance(self.bn, nn.BatchNorm2d):
            state = {f"this.{name}": value.cpu().numpy() for name, value in self.state_dict().items()}
            weight, bias = (torch.from_numpy(each) for each in folded(state, "this"))
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

    def __init__(self, part: parts.Bottleneck, activation: Activation) -> None:
        super().__init__()
        self.cv1 = Conv(part.cv1, activation)
        self.cv2 = Conv(part.cv2, activation)
        self.add = part.shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    """Cross-stage-partial block: half of the channels pass `depth` bottlenecks, then all are joined."""

    def __init__(self, part: parts.C3, activation: Activation) -> None:
        super().__init__()
        self.cv1 = Conv(part.branch, activation)
        self.cv2 = Conv(part.branch, activation)
        self.cv3 = Conv(part.cv3, activation)
        self.m = nn.Sequential(*(Bottleneck(block, activation) for block in part.m))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        y: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
        return y


class SPPF(nn.Module):
    """Spatial pyramid pooling of releases 6 and 7: a 5x5 maximum applied three times, which gives 5x5, 9x9, 13x13."""

    def __init__(self, part: parts.SPPF, activation: Activation) -> None:
        super().__init__()
        self.cv1 = Conv(part.cv1, activation)
        self.cv2 = Conv(part.cv2, activation)
        self.m = nn.MaxPool2d(parts.SPPF_KERNEL, stride=1, padding=parts.SPPF_KERNEL // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        pooled = [self.cv1(x)]
        for _ in range(3):
            pooled.append(self.m(pooled[-1]))
        y: Tensor = self.cv2(torch.cat(pooled, 1))
        return y


class SPP(nn.Module):
    """Spatial pyramid pooling of release 5: maxima of 5x5, 9x9 and 13x13 side by side."""

    def __init__(self, part: parts.SPP, activation: Activation) -> None:
        super().__init__()
        self.cv1 = Conv(part.cv1, activation)
        self.cv2 = Conv(part.cv2, activation)
        self.m = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in parts.SPP_KERNELS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        x = self.cv1(x)
        y: Tensor = self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))
        return y


class Focus(nn.Module):
    """Stem of release 5: the four pixels of each 2x2 square become channels; then a 3x3 convolution."""

    def __init__(self, part: parts.Focus, activation: Activation) -> None:
        super().__init__()
        self.inputs = part.inputs
        self.activation: Activation = activation
        self.conv = Conv(part.conv, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/2, W/2)."""
        corners = (x[..., row::2, column::2] for column in (0, 1) for row in (0, 1))
        y: Tensor = self.conv(torch.cat(tuple(corners), 1))
        return y

    @torch.no_grad()
    def as_conv(self) -> Conv:
        """The same function as one fused 6x6 convolution of stride 2, which every backend runs well."""
        self.conv.fuse()
        old = self.conv.conv
        conv = Conv(parts.Conv(self.inputs, old.out_channels, kernel=6, stride=2, pad=2), self.activation)
        weight = torch.from_numpy(focus_kernel(old.weight.cpu().numpy())).to(old.weight)
        conv.to(old.weight)
        conv._replace(weight, old.bias if old.bias is not None else torch.zeros(old.out_channels))
        return conv


class Concat(nn.Module):
    """Concatenates feature maps of one size along the channels."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, C1, H, W), (B, C2, H, W) -> (B, C1 + C2, H, W)."""
        return torch.cat(tuple(maps), 1)


class Detect(nn.Module):
    """The heads: a 1x1 convolution for each stride, with `5 + classes` logits for each anchor. It does not decode."""

    def __init__(self, part: parts.Detect) -> None:
        super().__init__()
        self.m = nn.ModuleList(plain_conv(head) for head in part.m)

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
