"""Reads YOLO label files: a line is `class x y w h` or a polygon, in fractions of the picture; reports each defect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from edged.core.text import decoded_text
from edged.core.types import Floats, Ints, require_array

MAX_LABEL_BYTES = 16 << 20
_FIELDS = 5
_POLYGON_FIELDS = 7  # or a larger odd number: a class and at least three corners
_OUTSIDE = 0.01  # fraction of the picture by which a box may cross the edge, as annotation tools round


class Severity(Enum):
    """What a defect means for training."""

    ERROR = "error"  # the picture cannot be used for training
    WARNING = "warning"  # it can, but a person should look at it
    NOTE = "note"  # allowed, worth knowing


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing wrong in a data set.

    Attributes:
        path: the file.
        line: number of the line, from 1; 0 for the whole file.
        severity: what it means for training.
        kind: short name for counting, e.g. `class id out of range`.
        message: what was expected and what was found.
    """

    path: Path
    line: int
    severity: Severity
    kind: str
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.severity.value}: {self.message}"


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The objects of one picture.

    Attributes:
        class_id: (N,) int32.
        cxcywh: (N, 4) float32, centre and size as fractions of the picture, 0..1.
        polygons: number of boxes that were computed from a polygon.
    """

    class_id: Ints
    cxcywh: Floats
    polygons: int = 0

    def __post_init__(self) -> None:
        require_array("cxcywh", self.cxcywh, np.float32, (None, 4))
        require_array("class_id", self.class_id, np.int32, (len(self.cxcywh),))

    def __len__(self) -> int:
        return len(self.class_id)

    @classmethod
    def empty(cls) -> Labels:
        """The labels of a picture without objects."""
        return cls(np.empty(0, np.int32), np.empty((0, 4), np.float32))


def read_labels(path: Path, *, classes: int, polygons: bool = False) -> tuple[Labels, list[Defect]]:
    """Read a label file.

    Args:
        path: the file; it must exist.
        classes: number of classes of the data set.
        polygons: use the box around a polygon (`class x1 y1 x2 y2 x3 y3 ...`, as for segmentation); otherwise such a
            line is a defect.

    Returns:
        The objects of the valid lines, and the defects. A file that cannot be read is a defect, too.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_LABEL_BYTES + 1)
        if len(content) > MAX_LABEL_BYTES:
            return Labels.empty(), [_whole(path, "unreadable labels", f"larger than {MAX_LABEL_BYTES} bytes")]
        text = decoded_text(content)
    except OSError as exc:
        return Labels.empty(), [_whole(path, "unreadable labels", f"cannot be read: {exc.strerror}")]
    except UnicodeDecodeError as exc:
        return Labels.empty(), [_whole(path, "unreadable labels", f"not a text file: byte {exc.start} is no UTF-8")]
    return parse_labels(text, path, classes=classes, polygons=polygons)


def parse_labels(text: str, path: Path, *, classes: int, polygons: bool = False) -> tuple[Labels, list[Defect]]:
    """As `read_labels`, for the text of a file; `path` is only used in the defects."""
    rows: list[_Row] = []
    defects: list[Defect] = []
    seen: dict[tuple[int, tuple[float, ...]], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        row = _parse_line(line, classes, polygons=polygons)
        if isinstance(row, _Row):
            first = seen.setdefault((row.class_number, row.box), number)
            if first != number:
                message = f"the same box as in line {first}"
                defects.append(Defect(path, number, Severity.WARNING, "duplicate box", message))
            defects += [Defect(path, number, Severity.WARNING, *warning) for warning in _warnings(row.box)]
            rows.append(row)
        else:
            defects.append(Defect(path, number, Severity.ERROR, row.kind, row.message))
    class_id = np.array([row.class_number for row in rows], np.int32)
    cxcywh = np.array([row.box for row in rows], np.float32).reshape(-1, 4)
    return Labels(class_id, cxcywh, sum(row.is_polygon for row in rows)), defects


@dataclass(frozen=True, slots=True)
class _Row:
    class_number: int
    box: tuple[float, ...]
    is_polygon: bool


@dataclass(frozen=True, slots=True)
class _Problem:
    kind: str
    message: str


def _whole(path: Path, kind: str, message: str) -> Defect:
    return Defect(path, 0, Severity.ERROR, kind, message)


def _parse_line(line: str, classes: int, *, polygons: bool) -> _Row | _Problem:
    fields = line.split()
    is_polygon = len(fields) >= _POLYGON_FIELDS and len(fields) % 2 == 1
    if len(fields) != _FIELDS and not (polygons and is_polygon):
        hint = "; of a polygon --polygons takes the box around it" if is_polygon else ""
        return _Problem("wrong number of fields", f"expected `class x y w h`, got {len(fields)} fields{hint}")
    try:
        numbers = tuple(float(field) for field in fields)
    except ValueError:
        return _Problem("not a number", f"expected numbers, got {line.strip()[:80]!r}")
    class_number = numbers[0]
    if not math.isfinite(class_number) or class_number != int(class_number):
        return _Problem("class id not an integer", f"class id must be an integer, got {fields[0]!r}")
    if not 0 <= class_number < classes:
        return _Problem("class id out of range", f"class id must be 0 to {classes - 1}, got {fields[0]}")
    box = _box_around(numbers[1:]) if is_polygon else numbers[1:]
    if not box or not all(0 <= value <= 1 for value in box):  # false for NaN, too
        what = "the corners of a polygon" if is_polygon else "x y w h"
        return _Problem("value outside 0..1", f"{what} must be fractions in 0..1, got {' '.join(fields[1:])[:80]}")
    if box[2] <= 0 or box[3] <= 0:
        got = f"a polygon without area, {' '.join(fields[1:])[:80]}" if is_polygon else f"{fields[3]} and {fields[4]}"
        return _Problem("degenerate box", f"width and height must be above 0, got {got}")
    return _Row(int(class_number), box, is_polygon)


def _box_around(corners: tuple[float, ...]) -> tuple[float, ...]:
    """Centre and size of the box around x1 y1 x2 y2 ..., clipped to the picture; empty if a corner is far outside."""
    if not all(-_OUTSIDE <= value <= 1 + _OUTSIDE for value in corners):  # false for NaN, too
        return ()
    xs, ys = ([min(max(value, 0.0), 1.0) for value in corners[start::2]] for start in (0, 1))
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _warnings(box: tuple[float, ...]) -> list[tuple[str, str]]:
    centre_x, centre_y, width, height = box
    reach = max(width / 2 - centre_x, centre_x + width / 2 - 1, height / 2 - centre_y, centre_y + height / 2 - 1)
    if reach <= _OUTSIDE:
        return []
    return [("box outside the picture", f"the box reaches {reach:.0%} of the picture's side over its edge")]
