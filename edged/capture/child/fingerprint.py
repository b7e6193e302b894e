"""A sample of a picture, to compare it with the next; `parent/frozen.py` counts equal ones."""

from __future__ import annotations

import numpy as np

from edged.core.types import Pixels

GRID_WH = (64, 36)


def fingerprint(pixels: Pixels) -> bytes:
    """The bytes of about 64x36 of the picture's own pixels (not of averages, which would hide noise).

    Args:
        pixels: (H, W, 3) uint8.
    """
    height, width = pixels.shape[:2]
    step_x, step_y = max(width // GRID_WH[0], 1), max(height // GRID_WH[1], 1)
    return np.ascontiguousarray(pixels[step_y // 2 :: step_y, step_x // 2 :: step_x]).tobytes()
