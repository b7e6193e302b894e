"""Cuts a user's YOLOv5 ONNX export at its heads, and checks with pictures that the result computes the same."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

import numpy as np
import onnx
import onnxslim
from onnx import helper

from edged.core.decode import GridDecode
from edged.core.errors import DataError, EdgedError, UsageError
from edged.core.types import Floats
from edged.cpu.session import open_session
from provisioning.cut.around import entries, require_picture, require_scores, suppressed
from provisioning.cut.graph import (
    Picture,
    cut,
    find_heads,
    image_input,
    metadata,
    read_onnx,
    with_outputs,
)
from provisioning.cut.recover import Anchors, recover_anchors
from provisioning.export import INPUT, IR_VERSION, MAX_DIFFERENCE, OPSET, check_input_size
from provisioning.graphs.plain import at_opset, in_float32, without_shape_arithmetic
from provisioning.names import ordered_names

DEFAULT_WH = (640, 640)
MAX_STRIDE = 32
_BOX_FIELDS = 5  # x, y, w, h, objectness


@dataclass(frozen=True, slots=True)
class CutModel:
    """An imported ONNX model.

    Attributes:
        onnx: content of the ONNX file: `images` -> sigmoided `p3`, `p4`, `p5`, of P6 models also `p6`; free batch size.
        names: class names, by class id.
        anchors: (width, height) in network pixels of each anchor of each head, smallest stride first.
        strides: network pixels per cell of each head, ascending.
        input_wh: network input (width, height), pixels.
    """

    onnx: bytes
    names: tuple[str, ...]
    anchors: Anchors
    strides: tuple[int, ...]
    input_wh: tuple[int, int]


def cut_at_heads(
    content: bytes,
    *,
    input_wh: tuple[int, int] | None = None,
    names: Sequence[str] = (),
    anchors: Sequence[float] = (),
    where: str = "the model",
) -> CutModel:
    """Cut a YOLOv5 export, with or without the decode inside, at its heads: three, or four of a P6 model.

    Args:
        content: of the ONNX file.
        input_wh: network input (width, height), pixels; None for the file's own, or 640x640 if that is free.
        names: class names, by class id; empty for those of the file's metadata.
        anchors: w, h, w, h, ... in pixels, smallest stride first. Only used for a file without decode; if empty, they
            are taken from its metadata.
        where: the file, for messages.

    Raises:
        DataError: the file is damaged, not YOLOv5, its decode is not YOLOv5's, or it changes the picture before the
            network or the scores after the decode.
        UsageError: names or anchors are needed and not given, or the file was exported for another size.
        EdgedError: the cut model computes something else than the original.
    """
    model = in_float32(read_onnx(content))
    picture = image_input(model)
    size = network_size(picture, input_wh, where=where)
    heads, ways = find_heads(model), entries(model, picture.name)
    # Two different pictures: in a batch, the network must not mix them.
    images = np.random.default_rng(0).random((2, picture.batch, 3, size[1], size[0]), np.float32)
    outputs = tuple(value.name for value in model.graph.output)
    watched = tuple(dict.fromkeys((*outputs, *heads.tensors, *ways, *suppressed(model))))
    seen, other = (_run(model, picture.name, watched, image, where=where) for image in images)
    require_picture(seen, ways, images[0, :1])
    ordered = sorted(heads.tensors, key=lambda name: -seen[name].shape[3])
    strides = _strides([seen[name] for name in ordered], size)
    logits = [seen[name] for name in ordered]

    def within() -> Iterator[Floats]:
        inner = _run(model, picture.name, heads.between, images[0], where=where)
        yield from _tables(list(inner.values()), logits)

    tables = _tables([seen[name] for name in outputs], logits) or ([] if heads.raw else list(within()))
    if not (tables or heads.raw):
        raise _no_decode([seen[name] for name in outputs], heads.channels)
    classes = _names(names, model, {table.shape[1] for table in tables if not heads.raw}, heads.channels)
    per_head = [head.reshape(-1, _BOX_FIELDS + len(classes), *head.shape[2:]) for head in logits]
    # After the decode, a graph may convert the boxes to corners or fractions: then its inner tensors are tried.
    if heads.raw:
        found = _stated(anchors, model, per_head)
    else:
        found, table = _recovered(chain(tables, within()), per_head, strides)
        require_scores({name: seen[name] for name in watched}, table)
    result = _trunk(model, ordered, size, strides, heads.channels, picture.batch, classes, found)
    _verify(result, images[:, 0], [np.concatenate((seen[name], other[name])) for name in ordered], where=where)
    return CutModel(result, classes, found, strides, size)


def network_size(picture: Picture, asked: tuple[int, int] | None, *, where: str = "the model") -> tuple[int, int]:
    """The network input (width, height) to import for, pixels: as asked, else the file's own, else 640x640.

    Raises:
        UsageError: it is no multiple of 32, or the file was exported for another size.
    """
    own = picture.size_wh
    if own and asked and own != asked:
        raise UsageError(
            f"{where} was exported for {own[0]}x{own[1]}, not for {asked[0]}x{asked[1]}",
            remedy="leave out --size, export it again with --dynamic, or import the .pt",
        )
    size = asked or own or DEFAULT_WH
    check_input_size(size, MAX_STRIDE)
    return size


def _strides(heads: Sequence[Floats], size: tuple[int, int]) -> tuple[int, ...]:
    """Network pixels per cell of each head (1, C, H, W); DataError unless cells are square."""
    width, height = size
    strides = tuple(width // head.shape[3] for head in heads)
    if any(head.shape[2:] != (height // s, width // s) for head, s in zip(heads, strides, strict=True)):
        shapes = ", ".join(f"{head.shape[3]}x{head.shape[2]}" for head in heads)
        raise DataError(f"heads of {shapes} cells for a picture of {width}x{height}: cells must be square")
    return strides


def _trunk(
    model: onnx.ModelProto,
    heads: Sequence[str],
    size: tuple[int, int],
    strides: tuple[int, ...],
    channels: int,
    batch: int,
    names: Sequence[str],
    anchors: Anchors,
) -> bytes:
    """The model up to its heads, simplified, in the form of our own exports and with their metadata; serialised."""
    trunk = cut(model, tuple(heads), input_wh=size, strides=strides, channels=channels)
    slim = onnxslim.slim(at_opset(without_shape_arithmetic(trunk, batch=batch), OPSET, ir_version=IR_VERSION))
    describe(slim, names, GridDecode(anchors, strides))
    content: bytes = slim.SerializeToString(deterministic=True)
    return content


def _run(
    model: onnx.ModelProto, picture: str, tensors: tuple[str, ...], image: Floats, *, where: str
) -> dict[str, Floats]:
    """Run the original model. Returns tensors by name, for the first picture of the batch."""
    session = open_session(with_outputs(model, tensors), threads=1, where=where)
    try:
        values = cast("list[Floats]", session.run(list(tensors), {picture: image}))
    except Exception as exc:  # ONNX Runtime's exceptions share no base below Exception
        raise DataError(
            f"does not run on a picture of {image.shape[3]}x{image.shape[2]}: {' '.join(str(exc).split())[:300]}",
            remedy="give the size that it was exported for: --size",
        ) from exc
    batch = len(image)
    return {name: v[:1] if v.shape[:1] == (batch,) else v for name, v in zip(tensors, values, strict=True)}


def _tables(tensors: Sequence[Floats], logits: Sequence[Floats]) -> list[Floats]:
    """The tensors with one row for each anchor of each cell, as YOLOv5's decode has them; each (N, 5+classes)."""
    cells = sum(head.shape[2] * head.shape[3] for head in logits)
    channels = logits[0].shape[1]
    return [
        tensor[0]
        for tensor in tensors
        if tensor.ndim == 3  # noqa: PLR2004 (B, N, 5+classes)
        and tensor.shape[1] % cells == 0
        and tensor.shape[1] // cells * tensor.shape[2] == channels
    ]


def _no_decode(outputs: Sequence[Floats], channels: int) -> DataError:
    shapes = ", ".join(str(output.shape) for output in outputs)
    return DataError(
        f"its outputs {shapes} are neither YOLOv5's heads nor its boxes: it has heads of {channels} channels, "
        "but no tensor behind them has x, y, w, h, objectness and classes for every anchor",
        remedy="export a YOLOv5 without NMS, or import the .pt; no other detector with heads of this kind is supported",
    )


def _names(given: Sequence[str], model: onnx.ModelProto, widths: set[int], channels: int) -> tuple[str, ...]:
    """Class names, checked against the heads' channels and the decode; `widths` are 5+classes of decoded tables."""
    names = tuple(given) or metadata_names(metadata(model).get("names", ""))
    made_for = max(widths) - _BOX_FIELDS if widths else 0
    if not names:
        needed = f"{made_for} names" if widths else "as many as it has classes"
        raise UsageError("the file does not name its classes", remedy=f"give --names FILE with one a line: {needed}")
    if channels % (_BOX_FIELDS + len(names)) or (widths and len(names) + _BOX_FIELDS not in widths):
        wanted = f", its output is made for {made_for}" if widths else ""
        raise DataError(f"{len(names)} class names do not fit heads of {channels} channels{wanted}")
    return names


def metadata_names(text: str) -> tuple[str, ...]:
    """Names from a literal such as `{0: 'person'}` or `['person']`, as exporters write it; none from any other text."""
    try:
        value = ast.literal_eval(text) if text else ()
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ()
    if not value:
        return ()
    try:
        return ordered_names(value)
    except ValueError as exc:
        raise DataError(f"in its metadata {exc}", remedy="give --names FILE with one a line") from exc


def _recovered(tables: Iterable[Floats], logits: Sequence[Floats], strides: tuple[int, ...]) -> tuple[Anchors, Floats]:
    """The anchors from the first table that is the heads' decode by YOLOv5's formula, and that table."""
    problems: list[DataError] = []
    for table in tables:
        try:
            return recover_anchors(table, logits, strides=strides), table
        except DataError as exc:
            problems.append(exc)
    raise problems[0]


def _stated(given: Sequence[float], model: onnx.ModelProto, logits: Sequence[Floats]) -> Anchors:
    """The given anchors, else those of the metadata of our own exports."""
    anchors = logits[0].shape[0]
    values = list(given) or _own_anchors(model)
    if not values:
        raise UsageError(
            "the file has no decode to learn its anchors from",
            remedy=f"give --anchors with {len(logits) * anchors * 2} numbers, as in the model's yaml file",
        )
    if len(values) != len(logits) * anchors * 2:
        raise UsageError(f"{len(values)} anchor numbers, expected {len(logits) * anchors * 2}")
    table = np.array(values, np.float64).reshape(len(logits), anchors, 2)
    return tuple(tuple((float(w), float(h)) for w, h in head) for head in table)


def _own_anchors(model: onnx.ModelProto) -> list[float]:
    """Anchors from the metadata of our own exports; none if another tool wrote something else there."""
    try:
        nested = json.loads(metadata(model).get("anchors", "[]"))
        values = [float(side) for head in nested for anchor in head for side in anchor]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return []
    return values if all(math.isfinite(side) and side > 0 for side in values) else []


def describe(model: onnx.ModelProto, names: Sequence[str], decode: GridDecode) -> None:
    """Write names, strides and anchors into the metadata, as our own exports have them."""
    helper.set_model_props(
        model,
        {
            "stride": str(decode.strides[-1]),
            "names": str(dict(enumerate(names))),
            "strides": json.dumps(decode.strides),
            "anchors": json.dumps(decode.anchors),
        },
    )


def _verify(content: bytes, images: Floats, logits: Sequence[Floats], *, where: str) -> None:
    """Check that the cut model gives the original's probabilities, for both pictures of a batch."""
    session = open_session(content, threads=1, where=f"{where}, cut at its heads,")
    expected = [1 / (1 + np.exp(-head.astype(np.float64))) for head in logits]
    try:
        got = cast("list[Floats]", session.run(None, {INPUT: images}))
    except Exception as exc:  # see _run
        raise one_picture_only(" ".join(str(exc).split())[:300]) from exc
    if [head.shape for head in got] != [head.shape for head in expected]:
        raise one_picture_only(f"two give {', '.join(str(head.shape) for head in got)}")
    worst = float(np.max([np.abs(a - b).max() for a, b in zip(got, expected, strict=True)]))
    if not worst <= MAX_DIFFERENCE:
        raise EdgedError(f"{where}: cut at its heads it differs by {worst:.2g} from the original")


def one_picture_only(reason: str) -> DataError:
    """The error for a graph that does not take a batch."""
    return DataError(
        f"its backbone works for one picture at a time only: {reason}",
        remedy="export it again with --dynamic, or import the .pt",
    )
