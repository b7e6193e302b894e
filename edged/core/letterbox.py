"""Letterbox geometry: a frame scaled to fit the network's input, centred, padded with grey.

The rounding is YOLOv5's (scale by the smaller ratio; half the padding minus and plus 0.1, rounded), so that weights
get pictures as in training. Unlike YOLOv5, the integers really used are kept, and the way back to frame pixels uses
them: no half-pixel shift at odd paddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edged.core.types import Floats

PAD_GREY = 114  # the grey YOLOv5 pads with in training


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How one frame size sits in one network size. All pairs are (width, height), pixels.

    Attributes:
        source_wh: the frame.
        network_wh: the network's input.
        resized_wh: the frame after scaling, at least 1x1.
        pad_left: grey columns on its left; what is left of the width is grey on its right.
        pad_top: grey rows above it; what is left of the height is grey below it.
    """

    source_wh: tuple[int, int]
    network_wh: tuple[int, int]
    resized_wh: tuple[int, int]
    pad_left: int
    pad_top: int

    @classmethod
    def fit(cls, source_wh: tuple[int, int], network_wh: tuple[int, int]) -> Letterbox:
        """The letterbox of a frame of `source_wh` in an input of `network_wh`.

        Raises:
            ValueError: a size below 1x1.
        """
        if min(*source_wh, *network_wh) < 1:
            raise ValueError(f"sizes must be at least 1x1, got frame {source_wh} and network {network_wh}")
        scale = min(network_wh[0] / source_wh[0], network_wh[1] / source_wh[1])
        resized_w, resized_h = (max(1, round(side * scale)) for side in source_wh)
        return cls(
            source_wh=source_wh,
            network_wh=network_wh,
            resized_wh=(resized_w, resized_h),
            pad_left=round((network_wh[0] - resized_w) / 2 - 0.1),
            pad_top=round((network_wh[1] - resized_h) / 2 - 0.1),
        )

    @property
    def scale(self) -> tuple[float, float]:
        """Network pixels per frame pixel, in x and in y (they differ by the rounding of `resized_wh`)."""
        return self.resized_wh[0] / self.source_wh[0], self.resized_wh[1] / self.source_wh[1]

    def to_frame(self, xyxy: Floats) -> Floats:
        """Boxes in network pixels -> boxes in frame pixels, clipped to the frame.

        Args:
            xyxy: (N, 4) float32, network pixels.

        Returns:
            (N, 4) float32, frame pixels.
        """
        offset, factor, limit = self.way_back
        boxes: Floats = np.clip((xyxy - offset) * factor, np.float32(0), limit)
        return boxes

    @property
    def way_back(self) -> tuple[Floats, Floats, Floats]:
        """What `to_frame` subtracts, multiplies by and clips to: (4,) float32 each, for x1, y1, x2, y2."""
        scale_x, scale_y = self.scale
        return (
            np.array([self.pad_left, self.pad_top] * 2, np.float32),
            np.array([1 / scale_x, 1 / scale_y] * 2, np.float32),
            np.array(self.source_wh * 2, np.float32),
        )

    def to_network(self, xyxy: Floats) -> Floats:
        """Boxes in frame pixels -> boxes in network pixels; the inverse of `to_frame` inside the frame.

        Args:
            xyxy: (N, 4) float32, frame pixels.

        Returns:
            (N, 4) float32, network pixels.
        """
        scale_x, scale_y = self.scale
        offset = np.array([self.pad_left, self.pad_top] * 2, np.float32)
        factor = np.array([scale_x, scale_y] * 2, np.float32)
        boxes: Floats = xyxy * factor + offset
        return boxes
