"""Reads checkpoints of YOLOv5 and our own, without executing anything in them and without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

from edged.core.errors import DataError
from provisioning.model.archive import Archive
from provisioning.model.described import TensorRef, short_text, shown
from provisioning.model.description import SIZES, STRIDES, TABLES, Anchors, Description, Release, Size, describe
from provisioning.model.folding import Array
from provisioning.model.official import read_official
from provisioning.model.parts import Activation
from provisioning.model.weights import fitting_weights
from provisioning.names import ordered_names

FORMAT = "edged-checkpoint/1"
CHANNELS = 3  # of the pictures of cameras, in training, validation and the daemon


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A trained YOLOv5 network and what is needed to use it.

    Attributes:
        description: of the architecture, with the anchors.
        state: parameters and buffers by name, float32 (counters int64); those of a file are read when asked for.
        names: class names, by class id.
        licence: as the file says; may be empty.
        date: of the training, as the file says, ISO 8601; may be empty.
        origin: `yolov5` (an official or user-trained checkpoint of YOLOv5) or `edged` (our trainer).
        training: state of our trainer for resuming, plain data and arrays; empty for checkpoints of YOLOv5.
    """

    description: Description
    state: Mapping[str, Array]
    names: tuple[str, ...]
    licence: str = ""
    date: str = ""
    origin: str = "edged"
    training: Mapping[str, object] = field(default_factory=dict)


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
        archive = Archive(path)
        try:
            return _read(archive, training=training)
        except BaseException:
            archive.close()
            raise
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc


def _read(archive: Archive, *, training: bool) -> Checkpoint:
    root = archive.root
    if isinstance(root, dict) and "format" in root:
        checkpoint = _read_ours(archive, root, training=training)
    else:
        checkpoint = Checkpoint(**read_official(archive), origin="yolov5")
    _refuse_other_channels(checkpoint.description.channels)
    return checkpoint


def _read_ours(archive: Archive, root: dict[object, object], *, training: bool) -> Checkpoint:
    if root["format"] != FORMAT:
        raise DataError(f"format {shown(root['format'])}, this version reads {FORMAT!r}")
    size, release, activation = (root.get(key) for key in ("size", "release", "activation"))
    strides = root.get("strides")
    # Compared one by one: hashing a hostile, nested value could take for ever.
    known = size in list(SIZES) and release in list(TABLES) and activation in get_args(Activation)
    if not known or strides != list(STRIDES):
        what = f"size {shown(size)} of release {shown(release)} with {shown(activation)} and strides {shown(strides)}"
        raise DataError(f"{what} is no YOLOv5")
    try:
        names = ordered_names(root["names"])
        description = describe(
            cast("Size", size),
            classes=len(names),
            anchors=cast("Anchors", root["anchors"]),
            release=cast("Release", release),
            channels=int(cast("int", root["channels"])),
            activation=cast("Activation", activation),
        )
        _refuse_other_channels(description.channels)
        return Checkpoint(
            description=description,
            state=fitting_weights(archive, _references(root["model"]), description),
            names=names,
            licence=short_text(root.get("licence")),
            date=short_text(root.get("date")),
            training=cast("dict[str, object]", archive.plain(root["training"])) if training else {},
        )
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise DataError(f"misshapen checkpoint ({type(exc).__name__}: {str(exc)[:200]})") from exc


def _references(value: object) -> dict[str, TensorRef]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise TypeError("its model is no state dict")
    if not all(isinstance(item, TensorRef) for item in value.values()):
        raise TypeError("a weight is no tensor")
    return value


def _refuse_other_channels(channels: int) -> None:
    if channels != CHANNELS:
        raise DataError(
            f"a YOLOv5 for pictures of {shown(channels)} channel{'s' if channels > 1 else ''}, expected {CHANNELS} "
            "(red, green, blue), which is what cameras give",
            remedy=f"train it with {CHANNELS} channels; grey pictures have three equal ones",
        )
