"""Small untrained networks whose signal reaches the heads, so that a wrong layer shows in the output."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest import mock

import torch
from torch import nn

from provisioning.model.blocks import Activation
from provisioning.model.network import LAYERS, Layer, Release, Size, Yolov5, build

# Every kind of layer, in a quarter of the nodes.
_SHORT = (
    Layer("stem", 64),
    Layer("conv3", 128),
    Layer("conv3", 256),
    Layer("c3", 256),  # 3: stride 8
    Layer("conv3", 512),  # 4: stride 16
    Layer("conv3", 1024),
    Layer("sppf", 1024),
    Layer("conv1", 512),  # 7: stride 32
    Layer("up"),
    Layer("concat", source=(-1, 4)),
    Layer("conv1", 256),  # 10: stride 16
    Layer("detect", source=(3, 10, 7)),
)


def lively(size: Size = "n", *, release: Release = "6", classes: int = 2, activation: Activation = "silu") -> Yolov5:
    """A seeded network in eval mode whose normalisation statistics fit its activations and whose heads vary."""
    return copy.deepcopy(_made(size, release, classes, activation))


@contextmanager
def few_layers() -> Iterator[None]:
    """Networks of release 6 are short while this holds: quick where a test is about what is done to any network."""
    with mock.patch.dict(LAYERS, {"6": _SHORT}):
        yield


def short(*, classes: int = 2) -> Yolov5:
    """As `lively`, of YOLOv5's layers, but few of them."""
    with few_layers():
        return copy.deepcopy(_made("n", "6", classes, "silu", few=True))


@cache
def _made(size: Size, release: Release, classes: int, activation: Activation, *, few: bool = False) -> Yolov5:
    del few  # keeps the two kinds apart
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        net = build(size, classes=classes, release=release, activation=activation)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # a plain mean, so that one picture sets it
        with torch.no_grad():
            net(torch.rand(2, 3, 128, 128))
            heads = net.eval()(torch.rand(1, 3, 64, 96))
            for conv, logits in zip(net.detect.m, heads, strict=True):
                if isinstance(conv, nn.Conv2d):
                    conv.weight.div_(logits.std())
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.03
    return net.eval()
