"""Cuts a user's YOLOv5 ONNX export at its heads and proves on a picture that nothing else was lost."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx
import onnxslim
from onnx import helper

from edged.core.errors import DataError, EdgedError, UsageError
from edged.core.types import Floats
from edged.cpu.session import open_session
from provisioning.cut.graph import (
    Heads,
    cut,
    find_heads,
    image_input,
    metadata,
    read_onnx,
    with_outputs,
)
from provisioning.cut.recover import Anchors, recover_anchors
from provisioning.export import INPUT, MAX_DIFFERENCE, OUTPUTS, check_input_size

DEFAULT_WH = (640, 640)
MAX_STRIDE = 32
_BOX_FIELDS = 5  # x, y, w, h, objectness


@dataclass(frozen=True, slots=True)
class CutModel:
    """An imported ONNX model.

    Attributes:
        onnx: the file: `images` -> `p3`, `p4`, `p5`, sigmoided, free batch.
        names: of the classes.
        anchors: per head, per anchor (width, height) in network pixels.
        strides: pixels a cell, per head.
        input_wh: network input, pixels.
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
    """Cut an export of YOLOv5, with or without the decode inside, at its three heads.

    Args:
        content: the ONNX file.
        input_wh: network input; None takes the file's own, or 640x640 where it is free.
        names: of the classes; empty takes the file's metadata.
        anchors: w, h, w, h, ... in pixels by rising stride; empty recovers them from the decode, or the metadata.
        where: the file, for messages.

    Raises:
        DataError: damaged, not YOLOv5, or a decode that is not YOLOv5's.
        UsageError: names or anchors are needed and not given, or a size that the file was not exported for.
        EdgedError: the cut model computes something else than the original.
    """
    model = read_onnx(content)
    picture = image_input(model)
    own_wh = picture.size_wh
    if own_wh and input_wh and own_wh != input_wh:
        raise UsageError(
            f"{where} was exported for {own_wh[0]}x{own_wh[1]}, not for {input_wh[0]}x{input_wh[1]}",
            remedy="leave out --size, export it again with --dynamic, or import the .pt",
        )
    size = input_wh or own_wh or DEFAULT_WH
    check_input_size(size, MAX_STRIDE)
    heads = find_heads(model)
    image = np.random.default_rng(0).random((picture.batch, 3, size[1], size[0]), np.float32)
    outputs, logits = _run_original(model, picture.name, heads, image, where=where)
    ordered = sorted(heads.tensors, key=lambda name: -logits[name].shape[3])
    strides = tuple(size[0] // logits[name].shape[3] for name in ordered)
    classes = _names(names, model, outputs, heads)
    per_head = [logits[name].reshape(-1, _BOX_FIELDS + len(classes), *logits[name].shape[2:]) for name in ordered]
    found = _anchors(anchors, model, heads, outputs, per_head, strides)
    slim = onnxslim.slim(cut(model, tuple(ordered), input_wh=size, strides=strides, channels=heads.channels))
    _describe(slim, classes, found, strides)
    result: bytes = slim.SerializeToString(deterministic=True)
    _verify(result, image[:1], [logits[name] for name in ordered], where=where)
    return CutModel(result, classes, found, strides, size)


def _run_original(
    model: onnx.ModelProto, picture: str, heads: Heads, image: Floats, *, where: str
) -> tuple[list[Floats], dict[str, Floats]]:
    """The original's outputs, and the logits of its heads by tensor, of the first picture of a batch."""
    session = open_session(with_outputs(model, heads.tensors), threads=1, where=where)
    names = [value.name for value in session.get_outputs()]
    try:
        values = dict(zip(names, cast("list[Floats]", session.run(names, {picture: image})), strict=True))
    except Exception as exc:  # ONNX Runtime's exceptions share no base below Exception
        raise DataError(
            f"does not run on a picture of {image.shape[3]}x{image.shape[2]}: {' '.join(str(exc).split())[:300]}",
            remedy="give the size that it was exported for: --size",
        ) from exc
    outputs = [values[value.name][:1] for value in model.graph.output]
    return outputs, {name: values[name][:1] for name in heads.tensors}


def _names(given: Sequence[str], model: onnx.ModelProto, outputs: list[Floats], heads: Heads) -> tuple[str, ...]:
    """Class names, as many as the heads have channels for."""
    names = tuple(given) or _metadata_names(metadata(model).get("names", ""))
    last = {output.shape[-1] for output in outputs if not heads.raw and output.ndim == 3}  # noqa: PLR2004 (B, N, 5+nc)
    if not names:
        needed = f"{max(last) - _BOX_FIELDS} names" if last else "as many as it has classes"
        raise UsageError("the file does not name its classes", remedy=f"give --names FILE with one a line: {needed}")
    if heads.channels % (_BOX_FIELDS + len(names)) or (last and _BOX_FIELDS + len(names) not in last):
        wanted = f", its output is made for {max(last) - _BOX_FIELDS}" if last else ""
        raise DataError(f"{len(names)} class names do not fit heads of {heads.channels} channels{wanted}")
    return names


def _metadata_names(text: str) -> tuple[str, ...]:
    """`{0: 'person'}` or `['person']`, the literals that exporters write."""
    try:
        value = ast.literal_eval(text) if text else ()
        if isinstance(value, dict):
            value = [name for _, name in sorted(value.items())]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ()
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()


def _anchors(
    given: Sequence[float],
    model: onnx.ModelProto,
    heads: Heads,
    outputs: list[Floats],
    logits: list[Floats],
    strides: tuple[int, ...],
) -> Anchors:
    """Anchors from the decode where there is one, else as given, else from our own metadata."""
    fields, anchors = logits[0].shape[1], logits[0].shape[0]
    rows = sum(head.shape[0] * head.shape[2] * head.shape[3] for head in logits)
    decoded = [output[0] for output in outputs if output.shape == (1, rows, fields)]
    if decoded and not heads.raw:
        return recover_anchors(decoded[0], logits, strides=strides)
    if not heads.raw:
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise DataError(
            f"its outputs {shapes} are neither heads nor boxes of shape (1, {rows}, {fields})",
            remedy="export without NMS, or import the .pt",
        )
    values = list(given) or _flat(json.loads(metadata(model).get("anchors", "[]")))
    if not values:
        raise UsageError(
            "the file has no decode to learn its anchors from",
            remedy=f"give --anchors with {len(logits) * anchors * 2} numbers, as in the model's yaml file",
        )
    if len(values) != len(logits) * anchors * 2:
        raise UsageError(f"{len(values)} anchor numbers, expected {len(logits) * anchors * 2}")
    table = np.array(values, np.float64).reshape(len(logits), anchors, 2)
    return tuple(tuple((float(w), float(h)) for w, h in head) for head in table)


def _flat(nested: list[list[list[float]]]) -> list[float]:
    return [side for head in nested for anchor in head for side in anchor]


def _describe(model: onnx.ModelProto, names: Sequence[str], anchors: Anchors, strides: tuple[int, ...]) -> None:
    helper.set_model_props(
        model,
        {
            "stride": str(strides[-1]),
            "names": str(dict(enumerate(names))),
            "strides": json.dumps(strides),
            "anchors": json.dumps(anchors),
        },
    )


def _verify(content: bytes, image: Floats, logits: Sequence[Floats], *, where: str) -> None:
    """Raise unless the cut model gives the original's probabilities, for each picture of a batch of two."""
    session = open_session(content, threads=1, where=f"{where}, cut at its heads,")
    try:
        got = cast("list[Floats]", session.run(list(OUTPUTS), {INPUT: np.concatenate((image, image))}))
    except Exception as exc:  # see _run_original
        raise DataError(
            f"its backbone works for one picture at a time only: {' '.join(str(exc).split())[:300]}",
            remedy="export it again with --dynamic, or import the .pt",
        ) from exc
    expected = [1 / (1 + np.exp(-head.astype(np.float64))) for head in logits]
    worst = float(np.max([np.abs(a - b).max() for a, b in zip(got, expected, strict=True)]))
    if not worst <= MAX_DIFFERENCE:
        raise EdgedError(f"{where}: cut at its heads it differs by {worst:.2g} from the original")
