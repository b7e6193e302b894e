"""Draws detections into pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edged.core.types import Detections, Pixels

_GOLDEN_ANGLE = 137.508  # degrees of hue between neighbouring class ids: neighbours never look alike
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_ZONE, _LINE = (80, 200, 80), (60, 60, 230)  # BGR


@dataclass(frozen=True, slots=True)
class Outline:
    """An area, or the arrow of a line, to be drawn.

    Attributes:
        points: fractions of the picture's width and height.
        name: shown at the first point.
        closed: an area; else an arrow from the first point to the second.
    """

    points: tuple[tuple[float, float], ...]
    name: str
    closed: bool


def annotated(
    pixels: Pixels,
    detections: Detections,
    *,
    classes: Sequence[str],
    caption: str = "",
    names: Sequence[str] = (),
    outlines: Sequence[Outline] = (),
) -> Pixels:
    """A copy of a picture with boxes, labels, a caption, areas and lines.

    Args:
        pixels: (H, W, 3) uint8, BGR.
        detections: in the picture's pixels.
        classes: names by class id.
        caption: text for the upper left corner.
        names: text before the label of each detection; none where empty.
        outlines: drawn below the boxes.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    canvas: Pixels = pixels.copy()
    size = max(0.4, min(canvas.shape[:2]) / 900)
    for outline in outlines:
        _outline(canvas, outline, size)
    for index in reversed(range(len(detections))):  # the highest score on top
        x1, y1, x2, y2 = (round(float(side)) for side in detections.xyxy[index])
        class_id = int(detections.class_id[index])
        colour = class_colour(class_id)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, max(1, round(size * 3)))
        text = f"{classes[class_id]} {detections.confidence[index]:.2f}"
        name = names[index] if index < len(names) else ""
        _label(canvas, f"{name} {text}" if name else text, (x1, y1), colour, size)
    if caption:
        _label(canvas, caption, (0, 0), _BLACK, size)
    return canvas


def class_colour(class_id: int) -> tuple[int, int, int]:
    """A BGR colour for a class id, the same in every picture."""
    hue = round(class_id * _GOLDEN_ANGLE / 2) % 180
    blue, green, red = cv2.cvtColor(np.array([[[hue, 200, 235]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)


def _outline(canvas: Pixels, outline: Outline, size: float) -> None:
    """Changes `canvas`."""
    height, width = canvas.shape[:2]
    points = np.array([(round(x * (width - 1)), round(y * (height - 1))) for x, y in outline.points], np.int32)
    thickness = max(1, round(size * 2))
    if outline.closed:
        cv2.polylines(canvas, [points], isClosed=True, color=_ZONE, thickness=thickness, lineType=cv2.LINE_AA)
    else:
        start, end = ((int(x), int(y)) for x, y in points)
        cv2.arrowedLine(canvas, start, end, _LINE, thickness, cv2.LINE_AA, tipLength=0.05)
    _label(canvas, outline.name, (int(points[0][0]), int(points[0][1])), _ZONE if outline.closed else _LINE, size)


def _label(canvas: Pixels, text: str, corner: tuple[int, int], colour: tuple[int, int, int], size: float) -> None:
    """Text on a filled box above `corner`, or below it where there is no room; changes `canvas`."""
    thickness = max(1, round(size * 1.5))
    (width, height), baseline = cv2.getTextSize(text, _FONT, size, thickness)
    left = max(0, min(corner[0], canvas.shape[1] - width - 2))
    top = corner[1] - height - baseline - 2
    top = top if top >= 0 else corner[1]
    cv2.rectangle(canvas, (left, top), (left + width + 2, top + height + baseline + 2), colour, cv2.FILLED)
    ink = _WHITE if sum(colour) < 300 else _BLACK  # noqa: PLR2004 - dark background, light ink
    cv2.putText(canvas, text, (left + 1, top + height + 1), _FONT, size, ink, thickness, cv2.LINE_AA)
