"""Between torch and checkpoints: a network from a checkpoint, a checkpoint from a network, and writing our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edged.core.errors import EdgedError
from edged.store.files import atomic_writer
from provisioning.model.checkpoint import FORMAT, Checkpoint
from provisioning.model.network import Yolov5


def network_of(checkpoint: Checkpoint) -> Yolov5:
    """The network with a checkpoint's weights, in evaluation mode, on the CPU."""
    net = Yolov5(checkpoint.description)
    net.load_state_dict(as_tensors(checkpoint.state))
    return net.eval()


def checkpoint_of(
    net: Yolov5,
    *,
    names: Sequence[str],
    licence: str = "",
    date: str = "",
    training: Mapping[str, object] | None = None,
) -> Checkpoint:
    """The checkpoint of a network.

    Args:
        net: float32; on the CPU its weights are shared, not copied.
        names: class names, by class id.
        licence, date: of the weights.
        training: the trainer's state, plain data and tensors.

    Raises:
        ValueError: the number of names is not that of the network's classes.
    """
    if len(names) != net.classes:
        raise ValueError(f"{len(names)} names for {net.classes} classes")
    anchors = tuple(tuple((w, h) for w, h in head) for head in net.anchors.tolist())
    return Checkpoint(
        description=replace(net.description, anchors=anchors),
        state={name: value.detach().cpu().numpy() for name, value in net.state_dict().items()},
        names=tuple(names),
        licence=licence,
        date=date,
        training=training or {},
    )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint for `read_checkpoint`, synced; it replaces an earlier file completely or not at all.

    Raises:
        EdgedError: the disk is full or the folder is not writable.
        TypeError: `training` holds something other than tensors and plain data.
    """
    description = checkpoint.description
    content = {
        "format": FORMAT,
        "model": _plain(checkpoint.state),
        "names": list(checkpoint.names),
        "anchors": [[list(anchor) for anchor in head] for head in description.anchors],
        "strides": list(description.strides),
        "size": description.size,
        "release": description.release,
        "activation": description.activation,
        "channels": description.channels,
        "licence": checkpoint.licence,
        "date": checkpoint.date,
        "training": _plain(checkpoint.training),
    }
    with atomic_writer(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as exc:  # torch reports its own state, and hides the OSError of a full disk
            if isinstance(exc.__context__, OSError):
                raise exc.__context__ from None
            raise EdgedError(f"{path} cannot be written: {exc}", remedy="free some space; nothing was changed") from exc


def as_tensors(value: Any) -> Any:  # noqa: ANN401 - plain data of any shape
    """A copy of plain data with a tensor on the CPU for each numpy array; the memory of the numbers is shared."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, Mapping):
        return {key: as_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(as_tensors(item) for item in value)
    return value


def _plain(value: object) -> object:
    """A copy with every array or tensor on the CPU, in memory of its own: torch saves the whole storage of a view."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    if value is None or type(value) in {bool, int, float, str, bytes}:
        return value
    raise TypeError(f"a checkpoint holds tensors and plain data only, got {type(value).__name__}")
