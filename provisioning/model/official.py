"""Interprets a checkpoint of YOLOv5: its release and size, classes, anchors and weights."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from edged.core.errors import DataError
from provisioning.model import parts
from provisioning.model.archive import Archive
from provisioning.model.described import Record, TensorRef, short_text, shown
from provisioning.model.description import (
    SIZES,
    STRIDES,
    TABLES,
    AnchorTable,
    Description,
    Release,
    Size,
    describe,
    scaled_channels,
    scaled_depth,
)
from provisioning.model.modules import parameters, records, tensors
from provisioning.model.parts import LEAKY_SLOPE, Activation
from provisioning.model.weights import Weights, fitting_weights
from provisioning.names import ordered_names

_KINDS = {
    "focus": "Focus",
    "stem": "Conv",
    "conv1": "Conv",
    "conv3": "Conv",
    "c3": "C3",
    "c3_plain": "C3",
    "spp": "SPP",
    "sppf": "SPPF",
    "up": "Upsample",
    "concat": "Concat",
    "detect": "Detect",
}
_ACTIVATIONS: dict[str, Activation] = {"SiLU": "silu", "ReLU": "relu", "LeakyReLU": "leaky_relu"}
_SUPPORTED = "YOLOv5 n, s, m, l and x of releases 5.0 and 6.0 to 7.0, with three detection heads, are supported"
_TASKS = {"SegmentationModel": "segmentation", "ClassificationModel": "classification"}
_LAST_LAYERS = {"Segment": "segmentation", "Classify": "classification"}
_DEEPEST = 6  # index of the C3 layer whose depth, with the width, identifies the size
_P6_LAYERS = 34


class Fields(TypedDict):
    """Arguments of `Checkpoint`, which documents them."""

    description: Description
    state: Weights
    names: tuple[str, ...]
    licence: str
    date: str


def read_official(archive: Archive) -> Fields:
    """Read an official or user-trained checkpoint of YOLOv5.

    Raises:
        DataError: it is not YOLOv5 or not a supported variant (the message says what was found), or it is damaged.
    """
    try:
        return _fields(archive, archive.root)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
        raise DataError(f"misshapen YOLOv5 checkpoint ({type(exc).__name__}: {str(exc)[:200]})") from exc


def _fields(archive: Archive, root: object) -> Fields:
    model = _model_record(root)
    layers = _children(_children(model)["model"])
    release = _release(list(layers.values()))
    detect = layers[str(len(layers) - 1)]
    _refuse_fused(layers)
    size, channels = _size(layers, release)
    activation = _activation(_children(layers["1"])["act"])
    _refuse_other_strides(archive, detect, model)
    names = _names(model, classes=detect.state["nc"])
    description = describe(
        size,
        classes=len(names),
        anchors=_anchors(archive, detect),
        release=release,
        channels=channels,
        activation=activation,
    )
    _refuse_other_geometry(description, model)
    refs = {name: ref for name, ref in tensors(model) if not name.endswith(("anchors", "anchor_grid"))}
    extra = root if isinstance(root, dict) else {}
    return Fields(
        description=description,
        state=fitting_weights(archive, refs, description),
        names=names,
        licence=short_text(extra.get("license")),
        date=short_text(extra.get("date")),
    )


def _model_record(root: object) -> Record:
    """The record of the network; the one with averaged (EMA) weights if there is one."""
    found = root
    if isinstance(root, dict):
        found = root.get("ema") if isinstance(root.get("ema"), Record) else root.get("model")
    if isinstance(found, Record) and found.kind.module in {"models.yolo", "yolov5.models.yolo"}:
        if found.kind.name in {"Model", "DetectionModel"}:
            return found
        task = _TASKS.get(found.kind.name)
        if task:
            raise _other_task(f"{task} ({found.kind.name})")
        raise DataError(f"a YOLOv5 {found.kind.name}, which is not known here; {_SUPPORTED}")
    if isinstance(found, Record):
        newer = " (YOLOv8 or later)" if found.kind.module.startswith("ultralytics") else ""
        raise DataError(f"not YOLOv5: it holds a {found.kind}{newer}; {_SUPPORTED}")
    if isinstance(root, dict) and any(isinstance(value, TensorRef) for value in root.values()):
        raise DataError(
            "bare weights (a state dict) without classes, anchors and architecture",
            remedy="import the whole checkpoint that YOLOv5's training wrote, such as best.pt",
        )
    held = ", ".join(map(shown, list(root)[:5])) if isinstance(root, dict) else type(root).__name__
    raise DataError(f"not YOLOv5: a checkpoint without a model (it holds {held or 'nothing'}); {_SUPPORTED}")


def _other_task(what: str) -> DataError:
    return DataError(
        f"a YOLOv5 for {what}, not for detection",
        remedy="take a detection model (yolov5s.pt, not yolov5s-seg.pt or yolov5s-cls.pt), or train one",
    )


def _children(record: Record) -> dict[str, Record]:
    children = record.state.get("_modules")
    if not isinstance(children, dict) or not all(isinstance(child, Record) for child in children.values()):
        raise TypeError(f"{record.kind} has no modules")
    return children


def _release(layers: list[Record]) -> Release:
    """The release whose published table the layers follow, by their types."""
    got = [layer.kind.name for layer in layers]
    if got and got[-1] in _LAST_LAYERS:
        raise _other_task(f"{_LAST_LAYERS[got[-1]]} (its last layer is {got[-1]})")
    if len(got) == _P6_LAYERS and got[-1] == "Detect":
        raise DataError(
            f"a YOLOv5 P6 model with four heads (for 1280 pixels); {_SUPPORTED}",
            remedy="export it with YOLOv5's export.py --include onnx, and import that",
        )
    release: Release = "5" if got and got[0] == "Focus" else "6"
    wanted = [_KINDS[row.kind] for row in TABLES[release]]
    if got != wanted:
        pairs = enumerate(zip([*got, "nothing"], [*wanted, "nothing"], strict=False))
        index, (found, expected) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        raise DataError(
            f"not a supported YOLOv5: layer {index} is {found}, release {'5.0' if release == '5' else '6.0 to 7.0'} "
            f"has {expected} there; {_SUPPORTED}"
        )
    return release


def _refuse_fused(layers: dict[str, Record]) -> None:
    """Refuse a model with folded normalisation. Layer 1 shows it: it is a Conv in every release."""
    children = _children(layers["1"])
    if "conv" in children and "bn" not in children and "bias" in parameters(children["conv"]):
        raise DataError(
            "a fused YOLOv5: its batch normalisation was folded into the convolutions, for inference",
            remedy="import the checkpoint that training wrote (best.pt), or export this one to ONNX and import that",
        )


def _size(layers: dict[str, Record], release: Release) -> tuple[Size, int]:
    """Size and input channels, from the shape of the first convolution and the depth of a C3."""
    stem = _children(layers["0"])["conv"]
    conv = _children(stem)["conv"] if release == "5" else stem
    weight = parameters(conv)["weight"]
    depth = len(_children(_children(layers[str(_DEEPEST)])["m"]))
    table = TABLES[release]
    for size in SIZES:
        same_width = weight.shape[0] == scaled_channels(table[0].channels, size)
        if same_width and depth == scaled_depth(table[_DEEPEST].repeats, size):
            return size, weight.shape[1] // (4 if release == "5" else 1)
    raise DataError(
        f"a YOLOv5 of a size that was not published ({weight.shape[0]} channels behind the stem, "
        f"{depth} bottlenecks in layer {_DEEPEST}); {_SUPPORTED}"
    )


def _activation(record: Record) -> Activation:
    name = record.kind.name
    slope = record.state.get("negative_slope", LEAKY_SLOPE)
    if name not in _ACTIVATIONS or slope != LEAKY_SLOPE:
        raise DataError(
            f"activation {name} (slope {shown(slope)}) is not supported, only SiLU, ReLU and LeakyReLU(0.1)"
        )
    return _ACTIVATIONS[name]


def _refuse_other_strides(archive: Archive, detect: Record, model: Record) -> None:
    ref = detect.state.get("stride", model.state.get("stride"))
    got = tuple(archive.tensor(ref).tolist()) if isinstance(ref, TensorRef) else ref
    if got != STRIDES:
        raise DataError(f"heads with strides {shown(got)}, expected {STRIDES}")


def _anchors(archive: Archive, detect: Record) -> AnchorTable:
    """Anchors in network pixels; the checkpoint has them in cells."""
    buffers = detect.state["_buffers"]
    ref = buffers.get("anchors") if isinstance(buffers, dict) else None
    if not isinstance(ref, TensorRef) or len(ref.shape) != 3 or ref.shape[::2] != (len(STRIDES), 2):  # noqa: PLR2004
        found = ref.shape if isinstance(ref, TensorRef) else ref
        raise DataError(f"anchors must be ({len(STRIDES)}, A, 2), got {shown(found)}")
    pixels = archive.tensor(ref).astype(np.float64) * np.array(STRIDES)[:, None, None]
    return tuple(tuple((w, h) for w, h in head) for head in pixels.tolist())


def _names(model: Record, *, classes: object) -> tuple[str, ...]:
    try:
        names = ordered_names(model.state.get("names"))
    except ValueError as exc:
        raise DataError(str(exc)) from exc
    if len(names) != classes:
        raise DataError(f"{len(names)} class names for heads with {shown(classes)} classes")
    return names


def _refuse_other_geometry(description: Description, model: Record) -> None:
    """Refuse modules that compute something else than ours although their weights have the same shapes."""
    found = dict(records(model))
    for name, part in description.walk():
        record = found.get(name)
        if record is None:
            raise DataError(f"module {name} is missing")
        if isinstance(part, parts.Act) and _activation(record) != description.activation:
            raise _changed(f"{name} is {record.kind.name}, others are {description.activation}")
        for attribute, wanted in parts.geometry(part).items():
            got = record.state.get(attribute)
            if _pair(got) != _pair(wanted):
                raise _changed(f"{name}.{attribute} is {shown(got)}, expected {wanted}")


def _changed(what: str) -> DataError:
    return DataError(f"{what}: a changed YOLOv5; {_SUPPORTED}")


def _pair(value: object) -> object:
    """`value` as a pair: 5 and (5, 5) mean the same geometry."""
    return (value, value) if isinstance(value, (int, float)) else value
