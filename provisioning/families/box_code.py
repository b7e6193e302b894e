"""What the four or more box values of a cell mean, and the same box as the values of a grid head.

A cell (gx, gy) of stride t holds values p. Two codes cover the dense families without anchors:

`size` (YOLOX, Ge et al. 2021): centre (p + g) t, width and height exp(p) t.
`sides` (FCOS, Tian et al. 2019): distances to the left, top, right and bottom side, from the point (g + offset) t. In
cells or in pixels; as numbers, or as the mean of a distribution over whole numbers (DFL, Li et al. 2020: softmax).

A grid head (`edged/cpu/decode.py`) of one anchor as large as its stride decodes s as centre (2 s - 0.5 + g) t and size
(2 s)^2 t. So the same box is, for `size`: s = (p + 0.5) / 2 and exp(p / 2) / 2; for `sides`, in cells:
s = (offset + 0.5) / 2 + (right - left) / 4 and sqrt(left + right) / 2. Both are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edged.core.types import Floats

SIDES = 4
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BoxCode:
    """How box values are decoded.

    Attributes:
        kind: `size` or `sides`.
        bins: of each side's distribution; 0 where sides are numbers.
        offset: of the point in its cell, 0 or 0.5; only for `sides`.
        in_pixels: sides are in network pixels, not in cells.
    """

    kind: Literal["size", "sides"]
    bins: int = 0
    offset: float = 0.5
    in_pixels: bool = False

    @property
    def channels(self) -> int:
        """Box values for each cell."""
        return SIDES * (self.bins or 1)

    def decode(self, values: Floats, *, stride: int) -> Doubles:
        """Boxes of one level, computed as the family describes it.

        Args:
            values: (C, H, W) float.
            stride: network pixels per cell.

        Returns:
            (H * W, 4) float64: x1, y1, x2, y2 in network pixels, row by row.
        """
        _, height, width = values.shape
        cells = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=0).reshape(2, -1).astype(np.float64)
        flat = values.reshape(len(values), -1).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.kind == "size":
                centre, size = (flat[:2] + cells) * stride, np.exp(flat[2:4]) * stride
                return np.asarray(np.concatenate((centre - size / 2, centre + size / 2)).T, np.float64)
            sides = _mean(flat, self.bins) if self.bins else flat
            sides = sides * (1 if self.in_pixels else stride)
            point = (cells + self.offset) * stride
            return np.asarray(np.concatenate((point - sides[:2], point + sides[2:])).T, np.float64)


def _mean(flat: Doubles, bins: int) -> Doubles:
    """The mean of each side's distribution: (4 * bins, N) logits -> (4, N)."""
    logits = flat.reshape(SIDES, bins, -1)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    mean: Doubles = (weights * np.arange(bins)[:, None]).sum(axis=1)
    return mean
