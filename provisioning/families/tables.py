"""Tables in a graph: tensors with one row for each cell of every level, which hold decoded boxes or scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from edged.core.types import Floats
from provisioning.families.box_code import Doubles
from provisioning.families.maps import Level, TensorShapes

BOX = 4
_RANKS = {2, 3}
_MOST_LEVELS = 4


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far boxes may be from the graph's own.

    Attributes:
        px: network pixels.
        cells: of each box's own stride.
        relative: of the value.
    """

    px: float
    cells: float
    relative: float


EXACT = Tolerance(0.02, 0.0, 2e-4)  # float32 in another order of operations
ROUNDED = Tolerance(0.02, 0.1, 0.02)  # a graph that was quantised rounds even the numbers 0 to 15 of its distributions


@dataclass(frozen=True, slots=True)
class Table:
    """One tensor.

    Attributes:
        name: of the tensor.
        rows: (N, K) float64, N the cells of all levels.
    """

    name: str
    rows: Doubles


def table_names(shapes: TensorShapes, levels: Sequence[Level], *, widest: int) -> list[str]:
    """Names of the tensors that can hold a table of at most `widest` columns, for a batch of 1."""
    cells = count_cells(levels)

    def fits(shape: tuple[int, ...]) -> bool:
        inner = shape[1:] if len(shape) == max(_RANKS) and shape[0] == 1 else shape
        return len(inner) == min(_RANKS) and cells in inner and min(inner) <= widest

    return [name for name, shape in shapes.items() if fits(shape)]


def tables(seen: Mapping[str, Floats], names: Iterable[str], levels: Sequence[Level]) -> list[Table]:
    """The tensors as tables, (N, K) each."""
    cells = count_cells(levels)
    found = []
    for name in names:
        rows = seen[name].astype(np.float64).reshape(seen[name].shape[-2:])
        found.append(Table(name, rows if len(rows) == cells else rows.T))
    return found


def count_cells(levels: Sequence[Level]) -> int:
    """The cells of all levels together."""
    return sum(level.cells_wh[0] * level.cells_wh[1] for level in levels)


def orders(per_level: Sequence[Doubles]) -> Iterator[Doubles]:
    """The rows of all levels as one (N, K), for each order in which a graph may join the levels."""
    if len(per_level) > _MOST_LEVELS:
        yield np.concatenate(per_level)
        return
    for order in permutations(range(len(per_level))):
        yield np.concatenate([per_level[index] for index in order])


def holds_boxes(rows: Doubles, boxes: Doubles, *, input_wh: tuple[int, int], tolerance: Tolerance) -> bool:
    """Whether the first columns of a table are these boxes: as corners or centre and size, in pixels or fractions.

    Args:
        rows: (N, K).
        boxes: (N, 5): x1, y1, x2, y2 in network pixels, and the stride.
        input_wh: network input (width, height), pixels.
        tolerance: what they may differ by.
    """
    xyxy, strides = boxes[:, :BOX], boxes[:, BOX:]
    if rows.shape[1] < BOX or not np.isfinite(xyxy).all():
        return False
    got = rows[:, :BOX]
    allowed = tolerance.px + tolerance.cells * strides
    centre, size = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
    sides = np.array([*input_wh, *input_wh], np.float64)
    forms = (xyxy, np.concatenate((centre, size), 1))
    return any(
        bool((np.abs(got * scale - form) <= allowed + tolerance.relative * np.abs(form)).all())
        for form in forms
        for scale in (1.0, sides)
    )


def squash(logits: Floats | Doubles) -> Doubles:
    """The sigmoid, float64."""
    with np.errstate(over="ignore"):
        result: Doubles = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return result
