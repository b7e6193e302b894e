"""Makes a network that starts with another one's weights: all layers, and the heads' rows of known classes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from provisioning.model.checkpoint import Checkpoint
from provisioning.model.network import Yolov5

_BOX_AND_OBJECTNESS = 5  # rows of an anchor before its classes


@dataclass(frozen=True, slots=True)
class Transfer:
    """Which weights were taken from the other network.

    Attributes:
        kept: names of weights that were copied completely.
        fresh: names of weights that were not copied, or only partly.
        known: classes whose rows in the heads were copied, as the other network has classes of the same names.
        new: classes whose rows start with new weights.
    """

    kept: tuple[str, ...]
    fresh: tuple[str, ...]
    known: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        whole = f"{len(self.kept)} of {len(self.kept) + len(self.fresh)} weights kept"
        if not self.fresh:
            return whole
        known, new = (", ".join(names) or "none" for names in (self.known, self.new))
        heads = f"boxes, objectness and the classes known by name ({known}) kept, new classes: {new}"
        return f"{whole}; in part: {', '.join(self.fresh)} ({heads})"


def transfer(checkpoint: Checkpoint, *, names: tuple[str, ...]) -> tuple[Yolov5, Transfer]:
    """Make a network for the classes `names` with the checkpoint's architecture and weights.

    The heads have a row for each class and anchor. Rows are matched by class name, because the same position may stand
    for another class.
    """
    net = Yolov5(replace(checkpoint.description, classes=len(names)))
    heads = {name for name, _ in net.named_parameters() if name.startswith(f"model.{len(net.model) - 1}.")}
    same_classes = checkpoint.names == names
    state = net.state_dict()
    kept = tuple(name for name in state if same_classes or name not in heads)
    with torch.no_grad():
        for name, value in state.items():
            given = torch.from_numpy(checkpoint.state[name])
            if name in kept:
                value.copy_(given)
            else:
                _copy_rows(value, given, names=names, given_names=checkpoint.names)
    fresh = tuple(name for name in state if name not in kept)
    known = tuple(name for name in names if name in checkpoint.names)
    return net, Transfer(kept, fresh, known, tuple(name for name in names if name not in known))


def _copy_rows(value: Tensor, given: Tensor, *, names: tuple[str, ...], given_names: tuple[str, ...]) -> None:
    """Copy box, objectness and known classes of every anchor, in place; both are (A * (5 + classes), ...)."""
    target = value.view(-1, _BOX_AND_OBJECTNESS + len(names), *value.shape[1:])  # (A, 5 + C, ...)
    source = given.view(-1, _BOX_AND_OBJECTNESS + len(given_names), *given.shape[1:])
    target[:, :_BOX_AND_OBJECTNESS] = source[:, :_BOX_AND_OBJECTNESS]
    for number, name in enumerate(names):
        if name in given_names:
            row = given_names.index(name)
            target[:, _BOX_AND_OBJECTNESS + number] = source[:, _BOX_AND_OBJECTNESS + row]
