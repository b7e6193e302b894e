"""Reads checkpoints of YOLOv5 and our own, without executing anything in them; writes our own."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from edged.core.errors import DataError, EdgedError
from provisioning.files import atomic_writer
from provisioning.model.archive import Archive
from provisioning.model.blocks import Activation
from provisioning.model.described import short_text, shown
from provisioning.model.network import LAYERS, SIZES, STRIDES, Release, Size, Yolov5, build
from provisioning.model.official import read_official
from provisioning.names import ordered_names

FORMAT = "edged-checkpoint/1"
CHANNELS = 3  # of the pictures of cameras, in training, validation and the daemon
_MISMATCHES_SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A trained YOLOv5 network and what is needed to use it.

    Attributes:
        state: parameters and buffers by name, float32 (counters int64), on the CPU.
        names: class names, by class id.
        anchors: (width, height) in network pixels of each anchor of each head.
        strides: network pixels per cell of each head.
        size: n, s, m, l or x.
        release: `6` for 6.0 to 7.0, `5` for 5.0.
        activation: of its convolutions.
        channels: of its input pictures.
        licence: as the file says; may be empty.
        date: of the training, as the file says, ISO 8601; may be empty.
        origin: `yolov5` (an official or user-trained checkpoint of YOLOv5) or `edged` (our trainer).
        training: state of our trainer for resuming, plain data and tensors; empty for checkpoints of YOLOv5.
    """

    state: Mapping[str, Tensor]
    names: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    strides: tuple[int, ...]
    size: Size
    release: Release
    activation: Activation = "silu"
    channels: int = 3
    licence: str = ""
    date: str = ""
    origin: str = "edged"
    training: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        net: Yolov5,
        *,
        names: Sequence[str],
        licence: str = "",
        date: str = "",
        training: Mapping[str, object] | None = None,
    ) -> Checkpoint:
        """Make the checkpoint of a network.

        Raises:
            ValueError: the number of names is not that of the network's classes.
        """
        if len(names) != net.classes:
            raise ValueError(f"{len(names)} names for {net.classes} classes")
        return cls(
            state=net.state_dict(),
            names=tuple(names),
            anchors=tuple(tuple((w, h) for w, h in head) for head in net.anchors.tolist()),
            strides=net.strides,
            size=net.size,
            release=net.release,
            activation=net.activation,
            channels=net.channels,
            licence=licence,
            date=date,
            training=training or {},
        )

    def network(self) -> Yolov5:
        """Make the network with these weights, in evaluation mode, on the CPU.

        Raises:
            DataError: the weights do not fit the architecture, or are not finite.
        """
        try:
            net = build(
                self.size,
                classes=len(self.names),
                anchors=self.anchors,
                release=self.release,
                channels=self.channels,
                activation=self.activation,
            )
        except ValueError as exc:
            raise DataError(str(exc)) from exc
        _refuse_misfit(net, self.state)
        net.load_state_dict(dict(self.state))
        return net.eval()


def read_checkpoint(path: Path, *, training: bool = False) -> Checkpoint:
    """Read an official YOLOv5 checkpoint or one of our own trainer, without executing its pickle.

    Args:
        path: the `.pt` file.
        training: also read the trainer's state, for resuming; only our checkpoints have it.

    Raises:
        DataError: the file is missing, truncated, damaged, hostile, not a YOLOv5 of release 5.0 to 7.0, not for
            pictures of three channels, or its weights do not fit or are not finite.
    """
    try:
        with contextlib.closing(Archive(path)) as archive:
            root = archive.root
            if isinstance(root, dict) and "format" in root:
                checkpoint = _read_ours(archive, root, training=training)
            else:
                checkpoint = Checkpoint(**read_official(archive), origin="yolov5")
        _refuse_other_channels(checkpoint.channels)
        checkpoint.network()
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc
    return checkpoint


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint for `read_checkpoint`, synced; it replaces an earlier file completely or not at all.

    Raises:
        EdgedError: the disk is full or the folder is not writable.
        TypeError: `training` holds something other than tensors and plain data.
    """
    content = {
        "format": FORMAT,
        "model": _plain(dict(checkpoint.state)),
        "names": list(checkpoint.names),
        "anchors": [[list(anchor) for anchor in head] for head in checkpoint.anchors],
        "strides": list(checkpoint.strides),
        "size": checkpoint.size,
        "release": checkpoint.release,
        "activation": checkpoint.activation,
        "channels": checkpoint.channels,
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


def _read_ours(archive: Archive, root: dict[object, object], *, training: bool) -> Checkpoint:
    if root["format"] != FORMAT:
        raise DataError(f"format {shown(root['format'])}, this version reads {FORMAT!r}")
    size, release, activation = (root.get(key) for key in ("size", "release", "activation"))
    strides = root.get("strides")
    # Compared one by one: hashing a hostile, nested value could take for ever.
    known = size in list(SIZES) and release in list(LAYERS) and activation in get_args(Activation)
    if not known or strides != list(STRIDES):
        what = f"size {shown(size)} of release {shown(release)} with {shown(activation)} and strides {shown(strides)}"
        raise DataError(f"{what} is no YOLOv5")
    try:
        return Checkpoint(
            state=_weights(archive.plain(root["model"])),
            names=ordered_names(root["names"]),
            anchors=tuple(
                tuple((float(w), float(h)) for w, h in head)
                for head in cast("list[list[tuple[float, float]]]", root["anchors"])
            ),
            strides=STRIDES,
            size=cast("Size", size),
            release=cast("Release", release),
            activation=cast("Activation", activation),
            channels=int(cast("int", root["channels"])),
            licence=short_text(root.get("licence")),
            date=short_text(root.get("date")),
            training=cast("dict[str, object]", archive.plain(root["training"])) if training else {},
        )
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise DataError(f"misshapen checkpoint ({type(exc).__name__}: {str(exc)[:200]})") from exc


def _weights(value: object) -> dict[str, Tensor]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise TypeError("its model is no state dict")
    if not all(isinstance(item, Tensor) for item in value.values()):
        raise TypeError("a weight is no tensor")
    return value


def _refuse_other_channels(channels: int) -> None:
    if channels != CHANNELS:
        raise DataError(
            f"a YOLOv5 for pictures of {shown(channels)} channel{'s' if channels > 1 else ''}, expected {CHANNELS} "
            "(red, green, blue), which is what cameras give",
            remedy=f"train it with {CHANNELS} channels; grey pictures have three equal ones",
        )


def _refuse_misfit(net: Yolov5, state: Mapping[str, Tensor]) -> None:
    """Raise DataError if names or shapes are not those of `net`, or values are not finite."""
    wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in state.items()}
    problems = [
        f"{shown(name)} is {got.get(name, 'missing')}, expected {wanted.get(name, 'nothing')}"
        for name in sorted(wanted.keys() | got.keys())
        if wanted.get(name) != got.get(name)
    ]
    if problems:
        first = "; ".join(problems[:_MISMATCHES_SHOWN])
        raise DataError(
            f"{len(problems)} weights do not fit YOLOv5{net.size} of release {net.release} with {net.classes} classes: "
            f"{first}"
        )
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DataError(
                f"weight {name} has values that are not finite", remedy="the training diverged: train again"
            )


def _plain(value: object) -> object:
    """A copy with every tensor on the CPU, in memory of its own: torch saves the whole storage of a view."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    if value is None or type(value) in {bool, int, float, str, bytes}:
        return value
    raise TypeError(f"a checkpoint holds tensors and plain data only, got {type(value).__name__}")
