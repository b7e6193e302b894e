from __future__ import annotations

import torch
from torch import Tensor

from provisioning.model.network import Yolov5, build
from provisioning.model.torch_checkpoint import checkpoint_of
from provisioning.training.transfer import transfer

HEADS = [f"model.24.m.{place}.{kind}" for place in range(3) for kind in ("weight", "bias")]


def rows(net: Yolov5, name: str) -> Tensor:
    """(A, 5 + classes, ...)"""
    value: Tensor = net.state_dict()[name]
    return value.view(3, -1, *value.shape[1:])


def test_transfer_keeps_all_for_the_same_classes() -> None:
    net = build("n", classes=2)
    moved, report = transfer(checkpoint_of(net, names=("a", "b")), names=("a", "b"))
    assert report.fresh == ()
    assert str(report) == f"{len(report.kept)} of {len(report.kept)} weights kept"
    for name, value in net.state_dict().items():
        assert torch.equal(moved.state_dict()[name], value), name


def test_transfer_to_other_classes_keeps_the_body_and_says_so() -> None:
    net = build("n", classes=2)
    moved, report = transfer(checkpoint_of(net, names=("a", "b")), names=("x", "y", "z"))
    assert moved.classes == 3
    assert list(report.fresh) == HEADS
    kept = len(report.kept)
    assert str(report).startswith(f"{kept} of {kept + 6} weights kept; in part: model.24.m.0.weight, ")
    assert str(report).endswith("(boxes, objectness and the classes known by name (none) kept, new classes: x, y, z)")
    assert torch.equal(moved.state_dict()["model.0.conv.weight"], net.state_dict()["model.0.conv.weight"])


def test_transfer_takes_the_rows_of_known_classes_by_name() -> None:
    net = build("n", classes=3)
    moved, report = transfer(checkpoint_of(net, names=("a", "b", "c")), names=("c", "new", "b"))
    assert (report.known, report.new) == (("c", "b"), ("new",))
    for name in HEADS:
        old, new = rows(net, name), rows(moved, name)
        assert torch.equal(new[:, :5], old[:, :5])
        assert torch.equal(new[:, 5], old[:, 7])
        assert torch.equal(new[:, 7], old[:, 6])
        if name.endswith("weight"):
            assert not any(torch.equal(new[:, 6], old[:, place]) for place in (5, 6, 7))


def test_transfer_never_takes_a_class_for_another_of_the_same_place() -> None:
    net = build("n", classes=2)
    moved, report = transfer(checkpoint_of(net, names=("a", "b")), names=("b", "a"))
    assert list(report.fresh) == HEADS
    name = HEADS[0]
    assert torch.equal(rows(moved, name)[:, 5], rows(net, name)[:, 6])
    assert torch.equal(rows(moved, name)[:, 6], rows(net, name)[:, 5])


def test_transfer_takes_anchors_along() -> None:
    net = build("n", classes=1, anchors=[[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]]])
    moved, _ = transfer(checkpoint_of(net, names=("a",)), names=("b",))
    assert torch.equal(moved.anchors, net.anchors)
