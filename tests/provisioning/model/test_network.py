"""The network: parameter counts as published, names, shapes, and folding that changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from provisioning.model.description import COCO_ANCHORS, Release, Size
from provisioning.model.network import build
from tests.provisioning.networks import lively


@pytest.mark.parametrize(
    ("size", "release", "trained", "fused"),
    [
        # As YOLOv5 itself printed them: releases 6.0 to 7.0 in its log of a fused model, 5.0 likewise.
        pytest.param("n", "6", 1_872_157, 1_867_405, id="n6"),
        pytest.param("s", "6", 7_235_389, 7_225_885, id="s6"),
        pytest.param("s", "5", 7_276_605, 7_266_973, id="s5"),
        pytest.param("m", "6", 21_190_557, 21_172_173, id="m6"),
    ],
)
def test_build_parameters_as_published(size: Size, release: Release, trained: int, fused: int) -> None:
    net = build(size, classes=80, release=release)
    assert sum(p.numel() for p in net.parameters()) == trained
    assert sum(p.numel() for p in net.fused().parameters()) == fused


@pytest.mark.parametrize(
    ("size", "parameters"), [pytest.param("l", 46_563_709, id="l"), pytest.param("x", 86_749_405, id="x")]
)
def test_build_large_sizes_without_memory(size: Size, parameters: int) -> None:
    with torch.device("meta"):
        net = build(size, classes=80, anchors=COCO_ANCHORS)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("release", ["5", "6"])
def test_build_names_are_the_official_ones(release: Release) -> None:
    names = set(build("n", classes=80, release=release).state_dict())
    stem = "model.0.conv.conv.weight" if release == "5" else "model.0.conv.weight"
    assert {stem, "model.24.m.0.weight", "model.24.m.2.bias", "model.2.m.0.cv1.bn.running_var"} <= names
    assert ("model.8.cv3.conv.weight" in names) == (release == "6")  # there SPP, here C3
    assert not any("anchor" in name for name in names)


@pytest.mark.parametrize("release", ["5", "6"])
def test_forward_shapes_and_fusion_agree(release: Release) -> None:
    net = lively(release=release, classes=3).double()  # float64: folding is exact up to rounding
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        raw, fused, maps = net(images), net.fused()(images), net.fused().sigmoid_maps(images)
    assert [tuple(head.shape) for head in raw] == [(2, 3, 8, 12, 8), (2, 3, 4, 6, 8), (2, 3, 2, 3, 8)]
    for head, twin, probability in zip(raw, fused, maps, strict=True):
        torch.testing.assert_close(twin, head, atol=1e-6, rtol=1e-6)
        expected = head.permute(0, 1, 4, 2, 3).flatten(1, 2).sigmoid()
        torch.testing.assert_close(probability, expected, atol=1e-6, rtol=1e-6)


def test_fused_leaves_the_original_trainable() -> None:
    net = build("n", classes=1)
    twin = net.fused()
    assert net.training
    assert not twin.training
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_build_sets_the_published_prior() -> None:
    net = build("n", classes=80)
    for conv, stride in zip(net.detect.m, net.strides, strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        objectness = conv.bias.detach().view(3, 85)[:, 4].sigmoid().mean().item()
        assert objectness == pytest.approx(8 / (640 / stride) ** 2, rel=0.5)  # PyTorch's own random bias is added


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        pytest.param([], "must be", id="empty"),
        pytest.param([[[1, 2]], [[1, 2]]], "got", id="two heads"),
        pytest.param([[[1, 2]], [[1, 2], [3, 4]], [[1, 2]]], "equally long", id="ragged"),
        pytest.param([[[1, 2]], [[1, -2]], [[1, 2]]], "positive", id="negative"),
        pytest.param([[[1, 2]], [[1, float("nan")]], [[1, 2]]], "positive", id="nan"),
    ],
)
def test_build_refuses_anchors(anchors: list[list[list[float]]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("n", classes=1, anchors=anchors)


def test_build_trains_a_step() -> None:
    net = build("n", classes=2)
    loss = torch.stack([head.square().mean() for head in net(torch.rand(2, 3, 64, 64))]).sum()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
