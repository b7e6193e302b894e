"""Draws detections into pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edged.core.types import Detections, Pixels

_GOLDEN_ANGLE = 137.508  # degrees of hue between neighbouring class ids: neighbours never look alike
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


def annotated(pixels: Pixels, detections: Detections, *, classes: Sequence[str], caption: str = "") -> Pixels:
    """A copy of a picture with boxes, labels and a caption.

    Args:
        pixels: (H, W, 3) uint8, BGR.
        detections: in the picture's pixels.
        classes: names by class id.
        caption: text for the upper left corner.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    canvas: Pixels = pixels.copy()
    size = max(0.4, min(canvas.shape[:2]) / 900)
    for index in reversed(range(len(detections))):  # the highest score on top
        x1, y1, x2, y2 = (round(float(side)) for side in detections.xyxy[index])
        class_id = int(detections.class_id[index])
        colour = class_colour(class_id)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, max(1, round(size * 3)))
        _label(canvas, f"{classes[class_id]} {detections.confidence[index]:.2f}", (x1, y1), colour, size)
    if caption:
        _label(canvas, caption, (0, 0), _BLACK, size)
    return canvas


def class_colour(class_id: int) -> tuple[int, int, int]:
    """A BGR colour for a class id, the same in every picture."""
    hue = round(class_id * _GOLDEN_ANGLE / 2) % 180
    blue, green, red = cv2.cvtColor(np.array([[[hue, 200, 235]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)


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
