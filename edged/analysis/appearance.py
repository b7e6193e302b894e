"""How the place of a stationary object looks, to tell "not detected in this light" from "no longer there"."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edged.analysis.tracking.track import Track
from edged.core.events import Box
from edged.core.types import Frame, Pixels

SIDE = 24  # pixels of a remembered picture
LIKE = 0.8  # correlation from which two pictures show the same: a brighter or darker light does not lower it
EVERY_S = 1.0  # a picture is renewed, and compared, so often
FLAT = 1.0  # a picture with less spread, grey levels, has nothing to compare

Picture = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Look:
    box: Box
    picture: Picture
    at_s: float
    verdict_s: float = -EVERY_S
    verdict: bool = False


class Appearances:
    """Pictures of the stationary objects of one camera, by track. One thread uses it."""

    def __init__(self) -> None:
        self._looks: dict[int, _Look] = {}

    def remember(self, track: Track, frame: Frame) -> None:
        """The object is there, in `track.box`: note how that looks, if the last note is old."""
        known = self._looks.get(track.serial)
        if known is None or track.last_s - known.at_s >= EVERY_S:
            self._looks[track.serial] = _Look(track.box, _picture(frame.pixels, track.box), track.last_s)

    def same(self, track: Track, frame: Frame) -> bool:
        """Whether the place where the object was last seen looks as it did with the object; False where unknown."""
        known = self._looks.get(track.serial)
        if known is None:
            return False
        at_s = frame.meta.captured_ns / 1e9
        if at_s - known.verdict_s >= EVERY_S:
            known.verdict_s = at_s
            known.verdict = correlation(known.picture, _picture(frame.pixels, known.box)) >= LIKE
        return known.verdict

    def forget(self, serial: int) -> None:
        """The track is gone."""
        self._looks.pop(serial, None)


def _picture(pixels: Pixels, box: Box) -> Picture:
    """The box as (SIDE, SIDE) float32 grey levels."""
    height, width = pixels.shape[:2]
    left, top = max(0, min(width - 1, int(box[0]))), max(0, min(height - 1, int(box[1])))
    right, bottom = max(left + 1, min(width, round(box[2]))), max(top + 1, min(height, round(box[3])))
    small = cv2.resize(pixels[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)


def correlation(a: Picture, b: Picture) -> float:
    """Pearson's correlation of two pictures of one shape, -1 to 1; 0 where one of them is flat."""
    a, b = a - a.mean(), b - b.mean()
    spread = float(a.std()), float(b.std())
    return float((a * b).mean()) / (spread[0] * spread[1]) if min(spread) >= FLAT else 0.0
