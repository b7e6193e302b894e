"""Imports detectors that give finished boxes: YOLOv10 and 26, the DETR family, and other end-to-end exports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
import onnxslim
from onnx import TensorProto, helper, numpy_helper

from edged.core.decode import ROW_VALUES, ROWS, ListDecode
from edged.core.errors import DataError, EdgedError
from edged.core.types import Floats
from edged.cpu.session import open_session
from provisioning.cut.graph import Picture, metadata
from provisioning.cut.heads import one_picture_only
from provisioning.export import FREE_BATCH, INPUT
from provisioning.families.batched import with_batched_outputs
from provisioning.families.common import class_names, preprocessing
from provisioning.families.known import DETR, END_TO_END, RF_DETR, licence_of, named_in
from provisioning.families.pictures import shown_picture
from provisioning.families.pixels import Pixels
from provisioning.families.recognised import NO_HINTS, Hints, Recognised
from provisioning.families.rows_tail import RowsTail
from provisioning.families.trunk import kept_trunk, prepend

SIZES = "orig_target_sizes"  # of the picture, (B, 2) width and height: an input of the DETR family's post-processing
MAX_DIFFERENCE_PX, MAX_DIFFERENCE_SCORE = 0.05, 1e-4
_SEEN, _COUNTS = 0.25, 1e-3  # scores of what is shown, and of what must be the same
_SEED = 0
_FATAL_ONLY = 4  # ONNX Runtime's severity

Form = Literal["rows", "finished", "logits"]


@dataclass(frozen=True, slots=True)
class ListedGraph:
    """A graph whose outputs are boxes of objects, a fixed number a picture.

    Attributes:
        model: float32, nodes in order.
        form: `rows`: one output (B, N, 6) of corners, score and class; `finished`: labels, boxes and scores; `logits`:
            boxes as centre and size in fractions of the picture, and a logit for each class.
        outputs: names by what they are: `rows`; `boxes`, `scores`, `labels`; `boxes`, `logits`.
    """

    model: onnx.ModelProto
    form: Form
    outputs: Mapping[str, str]


def listed_graph(model: onnx.ModelProto) -> ListedGraph | None:
    """Look at inputs and outputs of a graph. None for other detectors."""
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.output}
    floats = {v.name for v in model.graph.output if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    chooses = any(node.op_type in {"TopK", "NonMaxSuppression"} for node in model.graph.node)
    if len(shapes) == 1 and chooses:
        [(name, shape)] = shapes.items()
        if len(shape) == 3 and shape[2] == ROW_VALUES:  # noqa: PLR2004 (B, N, 6)
            return ListedGraph(model, "rows", {"rows": name})
    if {"labels", "boxes", "scores"} <= shapes.keys():
        batched, names = with_batched_outputs(model)
        return ListedGraph(batched, "finished", {name: names[name] for name in ("labels", "boxes", "scores")})
    for boxes, logits in (("dets", "labels"), ("pred_boxes", "logits")):
        if {boxes, logits} <= floats:
            return ListedGraph(model, "logits", {"boxes": boxes, "logits": logits})
    return None


def import_listed(
    graph: ListedGraph,
    picture: Picture,
    *,
    input_wh: tuple[int, int],
    names: Sequence[str] = (),
    hints: Hints = NO_HINTS,
) -> Recognised:
    """Put preprocessing in front of the graph, and bring its outputs into the form of a list.

    Args:
        graph: of such a detector.
        picture: its input.
        input_wh: network input (width, height), pixels.
        names: class names, by class id; empty for those of the file's metadata.
        hints: preprocessing and a picture.

    Raises:
        DataError: the graph does not run, takes one picture at a time only, or gives no fixed number of boxes.
        UsageError: names are not known and not given.
        EdgedError: the rewritten graph computes something else.
    """
    said = metadata(graph.model)
    family = named_in(said) or {"rows": END_TO_END, "finished": DETR, "logits": RF_DETR}[graph.form]
    pixels = preprocessing(family, hints.pixels)
    shown, title = shown_picture(hints.image, input_wh)
    rng = np.random.default_rng(_SEED)
    images = [*(rng.random((1, 3, *input_wh[::-1]), np.float32) for _ in range(2)), shown]
    original = _Original(graph, picture, input_wh)
    expected = [original.rows(pixels.of(image)) for image in images]
    classes = class_names(names, said, original.classes)
    _require_named(expected, classes)
    made = _with_rows(graph, pixels, picture=picture, input_wh=input_wh, count=len(expected[0]))
    helper.set_model_props(made, {"names": str(dict(enumerate(classes)))})
    content: bytes = made.SerializeToString(deterministic=True)
    proof = _compared(_run(content, images), expected)
    return Recognised(
        content,
        classes,
        ListDecode(family.name),
        input_wh,
        family.name,
        licence_of(family, said),
        {"pixels": pixels.name, "proof": f"{title}: {proof}"},
    )


class _Original:
    """The graph as it came, run for one picture at a time; its outputs as rows, computed here.

    Attributes:
        classes: number of them, where the outputs have one value for each; else None.
    """

    def __init__(self, graph: ListedGraph, picture: Picture, input_wh: tuple[int, int]) -> None:
        self._graph, self._picture, self._input_wh = graph, picture, input_wh
        self._session = open_session(graph.model.SerializeToString(), threads=1, where="the model")
        self.classes: int | None = None

    def rows(self, image: Floats) -> Floats:
        """(N, 6) float32 for one picture (1, 3, H, W), as the network wants it."""
        feed = {self._picture.name: np.repeat(image, self._picture.batch, axis=0)}
        if any(node.name == SIZES for node in self._session.get_inputs()):
            feed[SIZES] = np.array([self._input_wh] * self._picture.batch, np.int64)
        names = list(self._graph.outputs)
        try:
            given = self._session.run([self._graph.outputs[name] for name in names], feed)
        except Exception as exc:  # ONNX Runtime's exceptions share no base below Exception
            raise DataError(f"does not run on a picture of {image.shape[3]}x{image.shape[2]}: {exc}") from exc
        seen = {name: _of_first(np.asarray(value), name) for name, value in zip(names, given, strict=True)}
        if self._graph.form == "rows":
            return seen["rows"].astype(np.float32)
        if self._graph.form == "finished":
            joined = (seen["boxes"], seen["scores"][:, None], seen["labels"][:, None])
            return np.concatenate(joined, axis=1).astype(np.float32)
        self.classes = seen["logits"].shape[1]
        sides = np.array(self._input_wh, np.float64)
        centre, size = seen["boxes"][:, :2] * sides, seen["boxes"][:, 2:] * sides
        scores = 1 / (1 + np.exp(-seen["logits"].astype(np.float64)))
        best = scores.argmax(axis=1)
        columns = (centre - size / 2, centre + size / 2, scores.max(axis=1)[:, None], best[:, None])
        return np.concatenate(columns, axis=1).astype(np.float32)


_RANKS = {"rows": 2, "boxes": 2, "logits": 2, "scores": 1, "labels": 1}  # without the batch


def _of_first(value: Floats, name: str) -> Floats:
    """What belongs to the first picture; some exports leave out the batch of one."""
    return value[0] if value.ndim > _RANKS[name] else value


def _require_named(rows: Sequence[Floats], classes: Sequence[str]) -> None:
    """Every class id must have a name, whole and from 0."""
    ids = np.concatenate([each[:, 5] for each in rows])
    if len(ids) and not (ids.min() >= 0 and ids.max() < len(classes)):
        raise DataError(
            f"it gives class ids {ids.min():g} to {ids.max():g}, but {len(classes)} classes have a name",
            remedy="give --names FILE with one name a line, the first for class 0",
        )


def _with_rows(
    graph: ListedGraph, pixels: Pixels, *, picture: Picture, input_wh: tuple[int, int], count: int
) -> onnx.ModelProto:
    """The graph `images` -> `rows`, simplified."""
    sizes = numpy_helper.from_array(np.array([input_wh], np.int64), SIZES)
    made = kept_trunk(
        graph.model,
        list(graph.outputs.values()),
        picture=picture.name,
        input_wh=input_wh,
        batch=picture.batch,
        fixed=[sizes] if any(value.name == SIZES for value in graph.model.graph.input) else [],
    )
    del made.graph.output[:]
    tail = RowsTail(made.graph, graph.outputs)
    if graph.form == "rows":
        tail.as_they_are()
    elif graph.form == "finished":
        tail.finished()
    else:
        tail.of_logits(input_wh)
    shape: list[str | int | None] = [FREE_BATCH, count, ROW_VALUES]
    made.graph.output.append(helper.make_tensor_value_info(ROWS, TensorProto.FLOAT, shape))
    prepend(made.graph, pixels)
    slim: onnx.ModelProto = onnxslim.slim(made)
    return slim


def _run(content: bytes, images: Sequence[Floats]) -> Floats:
    """Rows of all pictures (B, N, 6), run as one batch.

    Raises:
        DataError: the graph takes one picture at a time only.
    """
    session = open_session(content, threads=1, where="the rewritten model")
    quiet = ort.RunOptions()
    quiet.log_severity_level = _FATAL_ONLY  # what goes wrong is an error of ours
    try:
        [rows] = session.run([ROWS], {INPUT: np.concatenate(images)}, quiet)
    except Exception as exc:  # see `_Original.rows`
        raise one_picture_only(" ".join(str(exc).split())[:300]) from exc
    together = np.asarray(rows, np.float32)
    alone = np.concatenate([np.asarray(session.run([ROWS], {INPUT: image})[0], np.float32) for image in images])
    if together.shape != alone.shape or _worst(together, alone) > MAX_DIFFERENCE_PX:
        raise one_picture_only("in a batch, boxes of one picture show up in another")
    return alone


def _compared(got: Floats, expected: Sequence[Floats]) -> str:
    """What was compared, in words: the objects of the last picture, the differences of all.

    Raises:
        EdgedError: the graphs differ.
    """
    wanted = np.stack(expected)
    px = _worst(got, wanted) if got.shape == wanted.shape else math.inf
    if not px <= MAX_DIFFERENCE_PX:
        raise EdgedError(
            f"rewritten, its boxes differ by {px:.2g} pixels from the original, or their scores or classes do"
        )
    seen = int((wanted[-1, :, 4] > _SEEN).sum())
    return f"{seen} objects, the same in both graphs within {px:.1g} pixels"


def _worst(got: Floats, wanted: Floats) -> float:
    return max(_distance(one, other) for one, other in zip(got, wanted, strict=True))


def _distance(one: Floats, other: Floats) -> float:
    """The largest distance of a row from the nearest of its class and score in the other graph, network pixels.

    Graphs sort by score: rows of nearly the same one may change places.
    """
    same = (one[:, None, 5] == other[None, :, 5]) & (
        np.abs(one[:, None, 4] - other[None, :, 4]) <= MAX_DIFFERENCE_SCORE
    )
    apart = np.abs(one[:, None, :4] - other[None, :, :4]).max(axis=-1)
    nearest = np.where(same, apart, np.inf)
    counts = (one[:, 4] > _COUNTS, other[:, 4] > _COUNTS)
    return float(max(nearest.min(axis=1)[counts[0]].max(initial=0.0), nearest.min(axis=0)[counts[1]].max(initial=0.0)))
