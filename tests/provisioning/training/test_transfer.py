from __future__ import annotations

import torch

from provisioning.model.checkpoint import Checkpoint
from provisioning.model.network import build
from provisioning.training.transfer import transfer


def test_transfer_keeps_all_for_the_same_classes() -> None:
    net = build("n", classes=2)
    moved, report = transfer(Checkpoint.of(net, names=("a", "b")), names=("a", "b"))
    assert report.fresh == ()
    for name, value in net.state_dict().items():
        assert torch.equal(moved.state_dict()[name], value), name


def test_transfer_to_other_classes_keeps_the_body_and_says_so() -> None:
    net = build("n", classes=2)
    moved, report = transfer(Checkpoint.of(net, names=("a", "b")), names=("x", "y", "z"))
    assert moved.classes == 3
    heads = [f"model.24.m.{place}.{kind}" for place in range(3) for kind in ("weight", "bias")]
    assert list(report.fresh) == heads
    kept = len(report.kept)
    assert str(report).startswith(f"{kept} of {kept + 6} weights kept; fresh: model.24.m.0.weight")
    assert torch.equal(moved.state_dict()["model.0.conv.weight"], net.state_dict()["model.0.conv.weight"])


def test_transfer_never_takes_a_head_of_as_many_other_classes() -> None:
    _, report = transfer(Checkpoint.of(build("n", classes=2), names=("a", "b")), names=("b", "a"))
    assert len(report.fresh) == 6


def test_transfer_takes_anchors_along() -> None:
    net = build("n", classes=1, anchors=[[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]]])
    moved, _ = transfer(Checkpoint.of(net, names=("a",)), names=("b",))
    assert torch.equal(moved.anchors, net.anchors)
