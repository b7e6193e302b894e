"""Small untrained networks whose signal reaches the heads, so that a wrong layer shows in the output."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import nn

from provisioning.model.blocks import Activation
from provisioning.model.network import Release, Size, Yolov5, build


def lively(size: Size = "n", *, release: Release = "6", classes: int = 2, activation: Activation = "silu") -> Yolov5:
    """A seeded network in eval mode whose normalisation statistics fit its activations and whose heads vary."""
    return copy.deepcopy(_made(size, release, classes, activation))


@cache
def _made(size: Size, release: Release, classes: int, activation: Activation) -> Yolov5:
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
