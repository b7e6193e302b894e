"""Computes boxes from COCO's `segmentation`: polygons, or a run-length encoded mask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

Box = tuple[float, float, float, float]
_CORNERS = 3
_FAR = 1 << 32  # pixels; a larger coordinate is an error
_FIRST = 2  # index of the last run that is not written as a difference


def box_around(segmentation: object) -> Box:
    """The smallest box around a segmentation.

    Args:
        segmentation: a list of polygons, each `[x1, y1, x2, y2, ...]` in pixels; or a mask, `{"size": [height, width],
            "counts": ...}`, with runs of pixels in column order, as a list or as pycocotools' text.

    Returns:
        x1, y1, x2, y2 in pixels, right and bottom edges exclusive.

    Raises:
        ValueError: it is neither, or the mask has no pixel.
    """
    if isinstance(segmentation, dict):
        return _around_mask(segmentation.get("size"), segmentation.get("counts"))
    return _around_polygons(segmentation)


def _around_polygons(polygons: object) -> Box:
    flat = polygons if isinstance(polygons, list) else []
    if all(isinstance(each, list) for each in flat):
        if any(len(each) % 2 for each in flat):
            raise ValueError("segmentation: a polygon needs two numbers a corner")
        flat = [value for each in flat for value in each]
    if len(flat) < 2 * _CORNERS or len(flat) % 2 or not all(map(_is_number, flat)):
        raise ValueError(f"segmentation must be polygons of at least {_CORNERS} corners, got {str(polygons)[:80]}")
    return float(min(flat[::2])), float(min(flat[1::2])), float(max(flat[::2])), float(max(flat[1::2]))


def _around_mask(size: object, counts: object) -> Box:
    if not isinstance(size, list) or len(size) != len("hw") or not all(isinstance(value, int) for value in size):
        raise ValueError(f"segmentation: size must be [height, width], got {str(size)[:80]}")
    runs = _runs(counts) if isinstance(counts, str) else counts
    height, width = size
    sound = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    if not isinstance(runs, list) or not sound or sum(runs) != height * width:
        raise ValueError(f"segmentation: counts must be runs of {height}x{width} pixels")
    ends = list(accumulate(runs))
    filled = [(start, end) for start, end in zip(ends[::2], ends[1::2], strict=False) if end > start]
    if not filled:
        raise ValueError("segmentation is a mask without a pixel")
    tops = [start % height if start // height == (end - 1) // height else 0 for start, end in filled]
    bottoms = [(end - 1) % height if start // height == (end - 1) // height else height - 1 for start, end in filled]
    left, right = filled[0][0] // height, (filled[-1][1] - 1) // height
    return float(left), float(min(tops)), float(right + 1), float(max(bottoms) + 1)


def _runs(text: str) -> list[int]:
    """Decode COCO's text: base 32, lowest digit first; from the fourth number on, differences to the one two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        digit = ord(letter) - ord("0")
        if not 0 <= digit < 1 << 6:
            raise ValueError("segmentation: counts is no run-length text")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:  # more digits follow
            continue
        if digit & 0x10:  # negative
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > _FIRST else 0))
        value = shift = 0
    return runs


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _FAR  # false for NaN, too


def is_box(value: object) -> bool:
    """Whether `value` is COCO's box: four numbers x, y, width, height."""
    return isinstance(value, Sequence) and len(value) == len("xywh") and all(map(_is_number, value))
