"""Frames in the memory that cameras write to: sealed, shared, seen read-only by the daemon."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone

import numpy as np

from edged.capture.boundary.slots import SlotArea, SlotWindow
from edged.core.types import Frame, FrameMeta


def filled_area(number: int, count: int, size_wh: tuple[int, int]) -> SlotArea:
    """An area with noise in every slot, written through a window of its own as a camera's process writes.

    Args:
        number: of the area, and the noise's seed.
        count: slots.
        size_wh: of the pictures, pixels.
    """
    area = SlotArea(number=number, count=count, picture_bytes=size_wh[0] * size_wh[1] * 3)
    window = SlotWindow(os.dup(area.descriptor), area.layout)
    area.close_descriptor()
    rng = np.random.default_rng(number)
    for slot in range(count):
        view = window.view(slot, size_wh)
        view[...] = rng.integers(0, 256, view.shape, np.uint8)
    return area


def frames_of(area: SlotArea, size_wh: tuple[int, int]) -> list[Frame]:
    """A frame of each slot."""
    now = datetime.now(timezone.utc)
    return [
        Frame(FrameMeta("cam", slot, now, time.monotonic_ns(), size_wh), area.view(slot, size_wh))
        for slot in range(area.layout.count)
    ]
