"""What the readers of other formats return, and checks that they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edged.core.errors import DataError
from edged.core.types import Floats, require_array
from provisioning.data.labels import Defect
from provisioning.data.pictures import decode_picture, inspect_picture, read_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One picture with its N objects.

    Attributes:
        picture: the file.
        split: train, val or test.
        names: class of each object.
        cxcywh: (N, 4) float32, centre and size of each box as fractions of the picture.
    """

    picture: Path
    split: str
    names: tuple[str, ...]
    cxcywh: Floats

    def __post_init__(self) -> None:
        require_array("cxcywh", self.cxcywh, np.float32, (len(self.names), 4))


@dataclass(frozen=True, slots=True)
class Reading:
    """A data set that was read.

    Attributes:
        items: its pictures, without those that have defects.
        names: its classes, by class id.
        defects: everything that is wrong.
        notes: what was left out on purpose (e.g. crowds), and how much.
        remarks: for the user, on how it was read.
        left_out: number of pictures with defects.
    """

    items: tuple[Item, ...]
    names: tuple[str, ...]
    defects: tuple[Defect, ...]
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    left_out: int = 0


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture in pixels, turned upright as its EXIF says.

    Raises:
        DataError: the file is missing, truncated or no picture, or its name cannot be printed.
    """
    if not path.name.isprintable():  # such a name breaks list files, reports and tables
        raise DataError(f"the picture's name is {path.name!r}", remedy="rename it")
    content = read_bytes(path)
    facts = inspect_picture(content)
    pixels = decode_picture(content) if facts.whole and not facts.too_large else None
    if pixels is None:
        raise DataError(f"{path} is no readable picture")
    return pixels.shape[1], pixels.shape[0]


def require_size(said_wh: tuple[object, object], picture: Path, actual_wh: tuple[int, int]) -> None:
    """Check the width and height that a file states for a picture. 0, None and an empty text state none.

    Raises:
        ValueError: the picture has another size, or what is stated is no number.
    """
    for said, actual in zip(said_wh, actual_wh, strict=True):
        text = "" if said is None else str(said).strip()
        try:
            known = float(text or 0)
        except ValueError:
            known = -1.0
        if known not in (0, actual):
            shown = "x".join(map(str, said_wh))
            raise ValueError(f"says {shown}, but {picture.name} is {actual_wh[0]}x{actual_wh[1]}")


def pixel_box_problem(xyxy: tuple[float, float, float, float], size_wh: tuple[int, int]) -> str:
    """Why a box (x1, y1, x2, y2 in pixels) cannot be right; empty if it can. One pixel over the edge is allowed."""
    x1, y1, x2, y2 = xyxy
    width, height = size_wh
    if not (x1 < x2 and y1 < y2):  # true for NaN, too
        return f"degenerate box {xyxy}"
    if x1 < -1 or y1 < -1 or x2 > width + 1 or y2 > height + 1:
        return f"box {xyxy} reaches out of the picture of {width}x{height}"
    if max(x2, y2) <= 1 < min(size_wh):
        return f"box {xyxy} lies in the first pixel; are its numbers fractions of the picture?"
    return ""


def normalised(xyxy: list[tuple[float, float, float, float]], size_wh: tuple[int, int]) -> Floats:
    """Convert boxes in pixels to (N, 4) float32: centre and size as fractions of the picture, clipped to it."""
    boxes = np.array(xyxy, np.float64).reshape(-1, 4) / np.array(size_wh * 2, np.float64)
    boxes = np.clip(boxes, 0, 1)
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1).astype(np.float32)
