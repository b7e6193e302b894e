"""Makes the JPEG of an object: the whole frame or a part around it, with its box or without."""

from __future__ import annotations

import cv2
import numpy as np

from edged.annotate import annotated
from edged.core.events import Box
from edged.core.types import Detections, Pixels

QUALITIES = (85, 70, 55, 40)
SHRINK = 0.7
AROUND = 0.25  # of its sides, that a cropped picture shows around an object
_LEAST_SIDE = 32


class NoPicture(ValueError):
    """No JPEG can be made."""


def cropped(pixels: Pixels, box: Box) -> tuple[Pixels, Box]:
    """The part of a picture around a box, and the box there.

    Args:
        pixels: (H, W, 3) uint8 BGR.
        box: x1, y1, x2, y2, pixels.
    """
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = box
    more_x, more_y = AROUND * (x2 - x1), AROUND * (y2 - y1)
    left, top = max(0, min(width - 1, int(x1 - more_x))), max(0, min(height - 1, int(y1 - more_y)))
    right, bottom = max(left + 1, min(width, int(x2 + more_x))), max(top + 1, min(height, int(y2 + more_y)))
    return pixels[top:bottom, left:right], (x1 - left, y1 - top, x2 - left, y2 - top)


def with_box(pixels: Pixels, box: Box, label: str, score: float) -> Pixels:
    """A copy with the object's box, label and score."""
    found = Detections(np.array([box], np.float32), np.array([score], np.float32), np.zeros(1, np.int32))
    return annotated(pixels, found, classes=(label,))


def jpeg(pixels: Pixels, *, most_bytes: int) -> bytes:
    """JPEG of at most `most_bytes`: with less quality where need be, then smaller.

    Raises:
        NoPicture: it cannot be encoded, or not so small.
    """
    while min(pixels.shape[:2]) >= 1:
        for quality in QUALITIES:
            try:
                made, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
            except cv2.error as exc:
                raise NoPicture(str(exc).strip()) from exc
            if not made:
                raise NoPicture("the picture cannot be encoded as JPEG")
            if data.size <= most_bytes:
                return data.tobytes()
        if min(pixels.shape[:2]) * SHRINK < _LEAST_SIDE:
            break
        smaller = cv2.resize(pixels, None, fx=SHRINK, fy=SHRINK, interpolation=cv2.INTER_AREA)
        pixels = np.asarray(smaller, np.uint8)
    raise NoPicture(f"a picture of {pixels.shape[1]}x{pixels.shape[0]} needs more than {most_bytes} bytes")
