"""What the picture of an object shows: the whole frame or a part around it, with its box or without."""

from __future__ import annotations

import numpy as np

from edged.annotate import annotated
from edged.core.events import Box
from edged.core.types import Detections, Pixels

AROUND = 0.25  # of its sides, that a cropped picture shows around an object


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
