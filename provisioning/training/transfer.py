"""Fresh networks, and networks that begin with the weights of another: every layer whose shape fits is kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from provisioning.model.checkpoint import Checkpoint
from provisioning.model.network import Yolov5, build

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was taken over.

    Attributes:
        kept: names of weights with the other network's values.
        fresh: names of weights that start anew.
    """

    kept: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        fresh = ", ".join(self.fresh) if self.fresh else "none"
        return f"{len(self.kept)} of {len(self.kept) + len(self.fresh)} weights kept; fresh: {fresh}"


def transfer(checkpoint: Checkpoint, *, names: tuple[str, ...]) -> tuple[Yolov5, Transfer]:
    """A network for `names` of the checkpoint's architecture, with all of its weights that fit.

    A head for other classes keeps its box and objectness channels' shapes no longer, so it starts anew: classes are
    compared by name and order, as weights of equal shape would otherwise name a dog a cat.
    """
    net = build(
        checkpoint.size,
        classes=len(names),
        anchors=checkpoint.anchors,
        release=checkpoint.release,
        channels=checkpoint.channels,
        activation=checkpoint.activation,
    )
    same_classes = checkpoint.names == names
    heads = {name for name, _ in net.named_parameters() if name.startswith(f"model.{len(net.model) - 1}.")}
    state = net.state_dict()
    kept = tuple(
        name for name in state if _fits(state[name], checkpoint.state.get(name)) and (same_classes or name not in heads)
    )
    with torch.no_grad():
        for name in kept:
            state[name].copy_(checkpoint.state[name])
    return net, Transfer(kept, tuple(name for name in state if name not in kept))


def _fits(wanted: Tensor, given: Tensor | None) -> bool:
    return given is not None and given.shape == wanted.shape
