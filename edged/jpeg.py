"""JPEG of bounded size."""

from __future__ import annotations

import cv2
import numpy as np

from edged.core.types import Pixels

QUALITIES = (85, 70, 55, 40)
SHRINK = 0.7
_LEAST_SIDE = 32


class NoPicture(ValueError):
    """No JPEG can be made."""


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
