"""The `test:` source: moving rectangles and a frame counter, determined by the seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import cv2
import numpy as np

from edged.capture.sources.stream import StreamInfo
from edged.core.errors import CameraError
from edged.core.types import Pixels

RECTANGLES = 6
MIN_SIDE = 16
MAX_SIDE = 16_384
MAX_FPS = 1000
_KEYS = frozenset({"size", "fps", "frames", "seed"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the pattern shows.

    Attributes:
        size_wh: pixels.
        fps: frames per second, above 0 to `MAX_FPS`.
        frames: number of frames; 0 = endless.
        seed: of colours, sizes and movements.
    """

    size_wh: tuple[int, int]
    fps: float
    frames: int
    seed: int

    @classmethod
    def parse(cls, source: str) -> Pattern:
        """Read `test:?size=640x480&fps=30&frames=100&seed=1`; every key may be missing.

        Raises:
            CameraError: an unknown key or an impossible value.
        """
        pairs = parse_qsl(source.removeprefix("test:").removeprefix("?"), keep_blank_values=True, max_num_fields=16)
        values = dict(pairs)
        unknown = sorted(values.keys() - _KEYS)
        if unknown:
            raise CameraError(f"{source}: unknown key {unknown[0]!r}", remedy=f"use {', '.join(sorted(_KEYS))}")
        try:
            pattern = cls._from_texts(values)
        except ValueError as exc:
            raise CameraError(f"{source}: {exc}", remedy="e.g. test:?size=640x480&fps=30&frames=100") from exc
        return pattern

    @classmethod
    def _from_texts(cls, values: Mapping[str, str]) -> Pattern:
        width, _, height = values.get("size", "640x480").partition("x")
        pattern = cls(
            size_wh=(int(width), int(height)),
            fps=float(values.get("fps", "30")),
            frames=int(values.get("frames", "0")),
            seed=int(values.get("seed", "0")),
        )
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in pattern.size_wh):
            raise ValueError(f"size must be {MIN_SIDE}x{MIN_SIDE} to {MAX_SIDE}x{MAX_SIDE}")
        if not 0 < pattern.fps <= MAX_FPS:
            raise ValueError(f"fps must be above 0 and at most {MAX_FPS}")
        if pattern.frames < 0 or pattern.seed < 0:
            raise ValueError("frames and seed must not be negative")
        return pattern


class PatternStream:
    """Draws the frames of a pattern. Implements `Stream`."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._index = -1
        self.damaged = self.overtaken = 0
        rng = random.Random(pattern.seed)  # noqa: S311 - no secret; numpy's generator would cost each child 2 MB
        short = min(pattern.size_wh)

        def draw(count: int, least: int, most: int) -> list[list[int]]:
            return [[rng.randint(least, most) for _ in range(count)] for _ in range(RECTANGLES)]

        self._sides = draw(2, short // 8, short // 3)
        self._starts = draw(2, 0, max(pattern.size_wh))
        self._steps = draw(2, 1, max(1, short // 40))
        self._colours = draw(3, 60, 255)

    @property
    def info(self) -> StreamInfo:
        """Rate of the pattern; not live, so that the reader paces it."""
        return StreamInfo(decoder="test pattern", live=False, fps=self._pattern.fps, may_freeze=False)

    @property
    def position_s(self) -> float:
        """Media time of the grabbed frame, seconds from the first."""
        return max(self._index, 0) / self._pattern.fps

    @property
    def location(self) -> str:
        """Always `test:`."""
        return "test:"

    def grab(self) -> bool:
        """Go to the next frame; False after the last of `frames`."""
        if self._pattern.frames and self._index + 1 >= self._pattern.frames:
            return False
        self._index += 1
        return True

    def retrieve(self, into: Pixels | None) -> Pixels:
        """Draw the grabbed frame, (H, W, 3) uint8 BGR: in `into` itself where its shape fits, else in a new array."""
        width, height = self._pattern.size_wh
        frame = (
            into if into is not None and into.shape == (height, width, 3) else np.empty((height, width, 3), np.uint8)
        )
        frame.fill(48)
        for index, (side_w, side_h) in enumerate(self._sides):
            x = _bounce(self._starts[index][0] + self._index * self._steps[index][0], width - side_w)
            y = _bounce(self._starts[index][1] + self._index * self._steps[index][1], height - side_h)
            frame[y : y + side_h, x : x + side_w] = self._colours[index]
        cv2.putText(frame, str(self._index), (2, height - 4), cv2.FONT_HERSHEY_PLAIN, 1.0, (255, 255, 255))
        return frame

    def close(self) -> None:
        """Nothing to release."""


def _bounce(position: int, room: int) -> int:
    """`position` reflected at both ends of 0..room."""
    if room <= 0:
        return 0
    position %= 2 * room
    return position if position <= room else 2 * room - position
