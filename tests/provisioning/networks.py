"""Small untrained networks whose signal reaches the heads, so that a wrong layer shows in the output."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from unittest import mock

import torch
from torch import nn

from provisioning.export import export_onnx
from provisioning.model.description import TABLES, Release, Row, Size
from provisioning.model.network import Yolov5, build
from provisioning.model.parts import Activation
from provisioning.model.torch_checkpoint import checkpoint_of

# Every kind of layer, in a quarter of the nodes.
_SHORT = (
    Row("stem", 64),
    Row("conv3", 128),
    Row("conv3", 256),
    Row("c3", 256),  # 3: stride 8
    Row("conv3", 512),  # 4: stride 16
    Row("conv3", 1024),
    Row("sppf", 1024),
    Row("conv1", 512),  # 7: stride 32
    Row("up"),
    Row("concat", source=(-1, 4)),
    Row("conv1", 256),  # 10: stride 16
    Row("detect", source=(3, 10, 7)),
)


def lively(size: Size = "n", *, release: Release = "6", classes: int = 2, activation: Activation = "silu") -> Yolov5:
    """A seeded network in eval mode whose normalisation statistics fit its activations and whose heads vary."""
    return copy.deepcopy(_made(size, release, classes, activation))


@contextmanager
def few_layers() -> Iterator[None]:
    """Networks of release 6 are short while this holds: quick where a test is about what is done to any network."""
    with mock.patch.dict(TABLES, {"6": _SHORT}):
        yield


def short(*, classes: int = 2) -> Yolov5:
    """As `lively`, of YOLOv5's layers, but few of them."""
    with few_layers():
        return copy.deepcopy(_made("n", "6", classes, "silu", few=True))


def onnx_of(net: Yolov5, *, input_wh: tuple[int, int], names: Sequence[str]) -> bytes:
    """The network as edged-provision exports it."""
    return export_onnx(net.description, checkpoint_of(net, names=names).state, input_wh=input_wh, names=names)


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
