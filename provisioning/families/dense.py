"""Imports dense detectors without anchors: YOLOX, YOLOv8 and later, RTMDet, NanoDet, and what decodes as they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from edged.core.decode import GridDecode
from edged.core.errors import DataError, EdgedError
from edged.core.types import Floats
from edged.cpu.session import open_session
from provisioning.cut.around import suppressed
from provisioning.cut.graph import Picture, metadata, with_outputs
from provisioning.cut.heads import describe, one_picture_only
from provisioning.export import INPUT
from provisioning.families.common import class_names, preprocessing
from provisioning.families.known import family_of, licence_of
from provisioning.families.pictures import shown_picture
from provisioning.families.proof import Difference, count_seen, difference
from provisioning.families.recognise import DenseGraph
from provisioning.families.recognised import NO_HINTS, Hints, Recognised
from provisioning.families.rewrite import grid_decode, with_grid_heads
from provisioning.families.tables import EXACT, ROUNDED, Table, Tolerance, table_names, tables
from provisioning.families.understand import Dense, boxes_of, decodes_so, scores_differ, scores_of, understand

MAX_DIFFERENCE_PX, MAX_DIFFERENCE_SCORE = 0.05, 1e-4  # of the rewritten graph from the original
_SEED = 0


def import_dense(
    graph: DenseGraph,
    picture: Picture,
    *,
    input_wh: tuple[int, int],
    names: Sequence[str] = (),
    hints: Hints = NO_HINTS,
) -> Recognised:
    """Find out what the heads mean, and rewrite them as grid heads.

    Args:
        graph: of such a detector.
        picture: its input.
        input_wh: network input (width, height), pixels.
        names: class names, by class id; empty for those of the file's metadata.
        hints: preprocessing and a picture.

    Raises:
        DataError: its heads mean nothing that is known, or it changes scores behind them.
        UsageError: names or preprocessing are not known and not given.
        EdgedError: the rewritten graph computes something else.
    """
    rng = np.random.default_rng(_SEED)
    original = _Original(graph, picture)
    tolerance = ROUNDED if graph.rounded else EXACT
    # Values of 0..1 give boxes and scores of many sizes, whatever preprocessing the network is trained with.
    first = original.see(rng.random((1, 3, *input_wh[::-1]), np.float32))
    dense = understand(
        graph.levels, first, original.tables(first), input_wh=input_wh, outputs=original.outputs, tolerance=tolerance
    )
    if dense is None:
        raise _not_understood(graph, original.outputs)
    if changed := scores_differ(dense, first, original.final_tables(first)):
        raise DataError(
            f"behind its heads, tensor {changed} has other scores, or its classes in another order, than its heads",
            remedy="export the network with the decode of its own family",
        )
    said = metadata(graph.model)
    family = family_of(dense, said)
    pixels, classes = preprocessing(family, hints.pixels), class_names(names, said, dense.classes)
    decode = grid_decode(dense, family.name)
    made = with_grid_heads(graph.model, dense, pixels, picture=picture.name, input_wh=input_wh, batch=picture.batch)
    describe(made, classes, decode)
    content: bytes = made.SerializeToString(deterministic=True)
    shown, title = shown_picture(hints.image, input_wh)
    images = [*(rng.random((1, 3, *input_wh[::-1]), np.float32) for _ in range(2)), shown]
    compared = _Compared(dense, decode, input_wh, tolerance)
    heads = _run(content, np.concatenate(images))
    for index, image in enumerate(images):
        compared.add(original, pixels.of(image), [head[index] for head in heads])
    return Recognised(
        content,
        classes,
        decode,
        input_wh,
        family.name,
        licence_of(family, said),
        {"pixels": pixels.name, "proof": f"{title}: {compared.proof()}"},
    )


class _Original:
    """The graph as it came, run for one picture at a time."""

    def __init__(self, graph: DenseGraph, picture: Picture) -> None:
        self.outputs = tuple(value.name for value in graph.model.graph.output)
        self._levels, self._picture = graph.levels, picture
        pieces = [piece for level in graph.levels for piece in level.pieces]
        widest = 5 + sum(piece.channels for piece in graph.levels[0].pieces)
        self._table_names = table_names(graph.shapes, graph.levels, widest=widest)
        self._final = {*self.outputs, *suppressed(graph.model)}
        watched = (*self.outputs, *self._table_names, *(piece.tensor for piece in pieces))
        self._watched = tuple(dict.fromkeys(watched))
        self._session = open_session(with_outputs(graph.model, self._watched), threads=1, where="the model")

    def see(self, image: Floats) -> dict[str, Floats]:
        """Outputs, maps and tables for one picture (1, 3, H, W), as the network wants it."""
        batch = np.repeat(image, self._picture.batch, axis=0)
        try:
            values = cast("list[Floats]", self._session.run(list(self._watched), {self._picture.name: batch}))
        except Exception as exc:  # ONNX Runtime's exceptions share no base below Exception
            raise DataError(f"does not run on a picture of {image.shape[3]}x{image.shape[2]}: {exc}") from exc
        count = self._picture.batch
        return {n: v[:1] if v.shape[:1] == (count,) else v for n, v in zip(self._watched, values, strict=True)}

    def tables(self, seen: dict[str, Floats]) -> list[Table]:
        """Every table of a run."""
        return tables(seen, self._table_names, self._levels)

    def final_tables(self, seen: dict[str, Floats]) -> list[Table]:
        """Those that are outputs or go into a NMS."""
        return tables(seen, [name for name in self._table_names if name in self._final], self._levels)


class _Compared:
    """Both graphs on several pictures."""

    def __init__(self, dense: Dense, decode: GridDecode, input_wh: tuple[int, int], tolerance: Tolerance) -> None:
        self._dense, self._decode, self._input_wh, self._tolerance = dense, decode, input_wh, tolerance
        self._worst, self._seen = Difference(0.0, 0.0), 0

    def add(self, original: _Original, image: Floats, heads: Sequence[Floats]) -> None:
        """Compare one picture.

        Args:
            original: the graph as it came.
            image: (1, 3, H, W), as it wants it.
            heads: of the rewritten graph, for the same picture.
        """
        dense, seen = self._dense, original.see(image)
        tables_now = original.tables(seen)
        if dense.table and not decodes_so(dense, seen, tables_now, input_wh=self._input_wh, tolerance=self._tolerance):
            raise DataError(f"tensor {dense.table} held the boxes of one picture, but does not hold those of another")
        boxes, scores = boxes_of(dense, seen), scores_of(dense, seen)
        found = difference(heads, boxes, scores, self._decode)
        self._worst = Difference(max(self._worst.px, found.px), max(self._worst.score, found.score))
        self._seen = count_seen(boxes, scores)

    def proof(self) -> str:
        """What was compared, in words.

        Raises:
            EdgedError: the graphs differ.
        """
        px, score = self._worst.px, self._worst.score
        if not (px <= MAX_DIFFERENCE_PX and score <= MAX_DIFFERENCE_SCORE):
            raise EdgedError(
                f"rewritten, its boxes differ by {px:.2g} pixels, its scores by {score:.2g} from the original"
            )
        return f"{self._seen} objects, the same in both graphs within {px:.1g} pixels and {score:.1g} of the score"


def _run(content: bytes, images: Floats) -> list[Floats]:
    session = open_session(content, threads=1, where="the rewritten model")
    try:
        return cast("list[Floats]", session.run(None, {INPUT: images}))
    except Exception as exc:  # see `see`
        raise one_picture_only(" ".join(str(exc).split())[:300]) from exc


def _not_understood(graph: DenseGraph, outputs: Sequence[str]) -> DataError:
    maps = "; ".join(
        f"stride {level.stride}: {', '.join(str(piece.channels) for piece in level.pieces)} channels"
        for level in graph.levels
    )
    given = ", ".join(f"{name} {list(graph.shapes.get(name, ()))}" for name in outputs[:6])
    return DataError(
        f"its heads ({maps}) are no boxes and classes of a known family; outputs: {given}",
        remedy="export the detection model, with its decode inside or with its plain heads",
    )
