"""NV12: a plane of luma, and half as large one of colour differences in pairs; what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Matrix = Literal["bt601", "bt709"]

_KR_KB: dict[Matrix, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
_ONE = 1 << 16


@dataclass(frozen=True, slots=True)
class YuvCoding:
    """How luma and colour differences become RGB: ITU-R BT.601 or BT.709, in 8 bits.

    Attributes:
        matrix: the shares of red, green and blue in luma.
        full_range: luma is 0..255 and differences are 128 +- 127.5; else luma is 16..235 and differences 128 +- 112.
    """

    matrix: Matrix
    full_range: bool = field(kw_only=True)

    @property
    def weights(self) -> tuple[int, int, int, int, int, int]:
        """Luma of black; then in 1/65536 RGB levels a step of luma, red a step of the difference of red, green a step
        of that of blue, green a step of that of red, blue a step of that of blue.
        """
        red, blue = _KR_KB[self.matrix]
        green = 1 - red - blue
        luma, difference = (1.0, 1.0) if self.full_range else (255 / 219, 255 / 224)
        to_red, to_blue = 2 * (1 - red) * difference, 2 * (1 - blue) * difference
        steps = (luma, to_red, -to_blue * blue / green, -to_red * red / green, to_blue)
        gain, red_of_red, green_of_blue, green_of_red, blue_of_blue = (round(step * _ONE) for step in steps)
        black = 0 if self.full_range else 16
        return black, gain, red_of_red, green_of_blue, green_of_red, blue_of_blue
