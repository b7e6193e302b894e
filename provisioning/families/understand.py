"""Finds out what the maps of a dense detector mean, by computing boxes of them and comparing with the graph's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from edged.core.types import Floats
from provisioning.cut.recover import same_scores
from provisioning.families.box_code import SIDES, BoxCode, Doubles
from provisioning.families.maps import Level, Piece
from provisioning.families.tables import BOX, EXACT, Table, Tolerance, holds_boxes, orders, squash
from provisioning.families.tails import Maps

_MOST_BINS = 64
_NANODET_BINS = 8
_PLUS_LEVELS = 4
_ROLES = 3  # box, classes, objectness
_SAME = 1e-5


@dataclass(frozen=True, slots=True)
class Dense:
    """What the maps of a graph mean.

    Attributes:
        levels: by their meaning, smallest stride first.
        code: of the boxes.
        logits: names of the maps that are to be squashed.
        classes: number of them.
        table: the tensor that holds the same boxes, decoded by the graph; empty where it does not decode.
    """

    levels: tuple[Maps, ...]
    code: BoxCode
    logits: tuple[str, ...]
    classes: int
    table: str


@dataclass(frozen=True, slots=True)
class _Roles:
    """Which of a level's maps is which."""

    box: Piece
    classes: Piece
    objectness: Piece | None


def understand(
    levels: Sequence[Level],
    seen: Mapping[str, Floats],
    tables: Sequence[Table],
    *,
    input_wh: tuple[int, int],
    outputs: Sequence[str],
    tolerance: Tolerance = EXACT,
) -> Dense | None:
    """Try every meaning that the maps can have.

    Args:
        levels: at least one, each with the same number of maps.
        seen: the maps' values for one picture, (1, C, H, W), and the graph's outputs.
        tables: tensors of the same run that may hold decoded boxes or scores.
        input_wh: network input (width, height), pixels.
        outputs: names of the graph's outputs.
        tolerance: what boxes may differ by.

    Returns:
        The meaning that gives the graph's own boxes. Where the graph decodes none: that of the only family whose maps
        look so. None if there is neither.
    """
    for roles in _assignments(levels):
        for code in _codes(roles[0].box.channels):
            boxes = [
                _with_stride(code.decode(seen[each.box.tensor][0], stride=level.stride), level.stride)
                for each, level in zip(roles, levels, strict=True)
            ]
            for joined, table in product(orders(boxes), tables):
                if holds_boxes(table.rows, joined, input_wh=input_wh, tolerance=tolerance):
                    return _meaning(levels, roles, code, table.name)
    return _undecoded(levels, seen, outputs)


def scores_differ(dense: Dense, seen: Mapping[str, Floats], tables: Sequence[Table]) -> str:
    """The name of a table whose scores are others than those of the maps, or in another order; empty without.

    A graph may change scores behind its maps; the rewritten one would not.

    Args:
        dense: the maps.
        seen: their values for one picture.
        tables: the outputs and what goes into a NMS.
    """
    stages = [[_flat(seen[level.classes]) for level in dense.levels]]  # as the map has them, squashed, with objectness
    stages.append([_probabilities(dense, level.classes, seen) for level in dense.levels])
    stages.append(scores_of(dense, seen))
    widths = {dense.classes, BOX + dense.classes, BOX + 1 + dense.classes} - {BOX}  # four columns may be boxes
    for table in tables:
        width = table.rows.shape[1]
        if width in widths:
            got = np.sort(table.rows[:, width - dense.classes :], axis=0)  # a graph may have sorted its boxes
            if not any(same_scores(got, np.sort(np.concatenate(stage), axis=0)) for stage in stages):
                return table.name
    return ""


def _probabilities(dense: Dense, name: str, seen: Mapping[str, Floats]) -> Doubles:
    values = _flat(seen[name])
    return squash(values) if name in dense.logits else values


def scores_of(dense: Dense, seen: Mapping[str, Floats]) -> list[Doubles]:
    """(N, classes) float64 probabilities of each level, with objectness where there is one."""
    found = []
    for level in dense.levels:
        classes = _probabilities(dense, level.classes, seen)
        found.append(classes * _probabilities(dense, level.objectness, seen) if level.objectness else classes)
    return found


def boxes_of(dense: Dense, seen: Mapping[str, Floats]) -> list[Doubles]:
    """(N, 4) float64 of each level: x1, y1, x2, y2 in network pixels, decoded as the family describes it."""
    return [dense.code.decode(seen[level.box][0], stride=level.stride) for level in dense.levels]


def decodes_so(
    dense: Dense,
    seen: Mapping[str, Floats],
    tables: Sequence[Table],
    *,
    input_wh: tuple[int, int],
    tolerance: Tolerance,
) -> bool:
    """Whether the graph's own table holds the boxes of its maps for another picture, too."""
    table = next(each for each in tables if each.name == dense.table)
    boxes = [_with_stride(each, level.stride) for each, level in zip(boxes_of(dense, seen), dense.levels, strict=True)]
    return any(holds_boxes(table.rows, joined, input_wh=input_wh, tolerance=tolerance) for joined in orders(boxes))


def _with_stride(xyxy: Doubles, stride: int) -> Doubles:
    return np.pad(xyxy, ((0, 0), (0, 1)), constant_values=stride)


def _flat(values: Floats) -> Doubles:
    """(1, C, H, W) -> (H * W, C) float64."""
    return np.asarray(values[0].reshape(values.shape[1], -1).T, np.float64)


def _assignments(levels: Sequence[Level]) -> Iterator[list[_Roles]]:
    """Every way to tell box, objectness and classes apart, the same at each level."""
    count = len(levels[0].pieces)
    widths = [[piece.channels for piece in level.pieces] for level in levels]
    if count not in {2, _ROLES} or any(sorted(each) != sorted(widths[0]) for each in widths):
        return
    pieces = [level.pieces for level in levels]
    if any(each != widths[0] for each in widths):  # outputs in no order: the widths tell
        pieces = [tuple(sorted(each, key=lambda piece: piece.channels)) for each in pieces]
    for places in permutations(range(count)):
        box, classes = places[0], places[-1]  # as graphs join them: box, objectness, classes
        objectness = places[1] if count == _ROLES else None
        first = pieces[0]
        fits = first[box].channels % SIDES == 0 and not first[box].squashed
        if fits and (objectness is None or first[objectness].channels == 1):
            yield [
                _Roles(each[box], each[classes], None if objectness is None else each[objectness]) for each in pieces
            ]


def _codes(channels: int) -> Iterator[BoxCode]:
    if channels == SIDES:
        yield BoxCode("size")
    bins = channels // SIDES if channels > SIDES else 0
    if bins > _MOST_BINS:
        return
    for offset in (0.5, 0.0):
        for in_pixels in (False,) if bins else (False, True):
            yield BoxCode("sides", bins, offset, in_pixels)


def _undecoded(levels: Sequence[Level], seen: Mapping[str, Floats], outputs: Sequence[str]) -> Dense | None:
    """YOLOX with three maps a level, NanoDet and YOLOv8 with their distributions, where the outputs are the maps.

    NanoDet-Plus has a fourth level and measures from the corner of a cell, NanoDet from its centre.
    """
    for roles in _assignments(levels):
        bins = roles[0].box.channels // SIDES
        if roles[0].objectness is not None and bins == 1:
            code = BoxCode("size")
        elif roles[0].objectness is None and bins >= _NANODET_BINS:
            plus = bins == _NANODET_BINS and len(levels) == _PLUS_LEVELS
            code = BoxCode("sides", bins, offset=0.0 if plus else 0.5)
        else:
            continue
        if _are_outputs(roles, seen, outputs):
            return _meaning(levels, roles, code, "")
    return None


def _are_outputs(roles: Sequence[_Roles], seen: Mapping[str, Floats], outputs: Sequence[str]) -> bool:
    """Whether the outputs hold exactly the values of the maps, squashed or not, in any arrangement."""
    boxes = [seen[each.box.tensor] for each in roles]
    scores = [seen[piece.tensor] for each in roles for piece in (each.classes, each.objectness) if piece is not None]
    given = _sorted([seen[name] for name in outputs])
    return any(
        given.shape == values.shape and bool(np.allclose(given, values, rtol=_SAME, atol=_SAME))
        for values in (_sorted([*boxes, *scores]), _sorted([*boxes, *(squash(each) for each in scores)]))
    )


def _sorted(arrays: Sequence[Floats | Doubles]) -> Doubles:
    return np.sort(np.concatenate([each.ravel() for each in arrays]))


def _meaning(levels: Sequence[Level], roles: Sequence[_Roles], code: BoxCode, table: str) -> Dense:
    maps = tuple(
        Maps(
            stride=level.stride,
            box=each.box.tensor,
            classes=each.classes.tensor,
            objectness=each.objectness.tensor if each.objectness else "",
            cells_wh=level.cells_wh,
        )
        for level, each in zip(levels, roles, strict=True)
    )
    scored = [piece for each in roles for piece in (each.classes, each.objectness) if piece is not None]
    logits = tuple(piece.tensor for piece in scored if not piece.squashed)
    return Dense(maps, code, logits, roles[0].classes.channels, table)
