"""Which of a device's formats, sizes and rates is taken.

What the keys say is kept exactly. Where they leave a choice:

1. Size: the largest within 1280x720; where each is larger, the smallest.
2. Format: the raw one with the highest rate, where that is 15 or the wanted rate at least; else MJPEG, H.264 or H.265,
   if it is faster: over USB 2 raw pictures of that size often come at 10 a second only.
3. Rate: the highest up to 30; where each is higher, the lowest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edged.capture.sources.v4l2.offers import COMPRESSED, FORMATS, Offer, Rates, Sizes

LIMIT_WH = (1280, 720)
ENOUGH_FPS = 15.0
USUAL_FPS = 30.5  # some devices say 30.00003


@dataclass(frozen=True, slots=True)
class Wanted:
    """The keys of a camera; (0, 0), empty and 0 where they are not given."""

    size_wh: tuple[int, int]
    pixel_format: str
    rate: float


@dataclass(frozen=True, slots=True)
class Mode:
    """What a device is asked for; a rate of 0 leaves it to the driver."""

    pixel_format: str
    size_wh: tuple[int, int]
    rate: float

    @property
    def ffmpeg(self) -> dict[str, str]:
        """Options of FFmpeg's demuxer."""
        width, height = self.size_wh
        options = {"input_format": FORMATS[self.pixel_format][1], "video_size": f"{width}x{height}"}
        return {**options, "framerate": f"{self.rate:.6f}"} if self.rate else options

    def __str__(self) -> str:
        width, height = self.size_wh
        return f"{self.pixel_format} {width}x{height}{f' at {self.rate:.4g}' * bool(self.rate)}"


def choose(offers: Sequence[Offer], wanted: Wanted) -> Mode | None:
    """The mode to ask for; None where what is wanted is not offered."""
    fitting = [
        (offer, sizes)
        for offer in offers
        if offer.readable and wanted.pixel_format in {"", offer.name}
        for sizes in offer.sizes
    ]
    size_wh = wanted.size_wh if any(wanted.size_wh) else _usual_size(fitting, wanted.rate)
    modes = [
        Mode(offer.name, size_wh, rate)
        for offer, sizes in fitting
        if sizes.holds(size_wh)
        for rate in _rates(sizes.rates, wanted.rate)
    ]
    return max(modes, key=_rank, default=None)


def _usual_size(fitting: Sequence[tuple[Offer, Sizes]], rate: float) -> tuple[int, int]:
    """Of the sizes that come at the wanted rate; (0, 0) where there are none."""
    possible = [sizes for _, sizes in fitting if not rate or sizes.rates.nearest(rate)]
    within = [size for sizes in possible if (size := sizes.largest_within(LIMIT_WH))]
    if within:
        return max(within, key=_area)
    return min((sizes.least for sizes in possible), key=_area, default=(0, 0))


def _rates(rates: Rates, wanted: float) -> Iterator[float]:
    """The rate to ask for, if there is one."""
    if wanted:
        found = rates.nearest(wanted)
        yield from [found] if found else []
    elif not rates.values:
        yield 0.0
    elif rates.between:
        yield max(min(rates.values[0], round(USUAL_FPS)), rates.values[-1])
    else:
        yield max((rate for rate in rates.values if rate <= USUAL_FPS), default=rates.values[-1])


def _rank(mode: Mode) -> tuple[bool, bool, float, int]:
    """Higher is better. Of raw formats that are fast enough each, the fastest; of too slow ones just that."""
    raw = mode.pixel_format not in COMPRESSED
    fast = not mode.rate or mode.rate >= ENOUGH_FPS
    return fast, fast and raw, mode.rate, 1 if raw else -COMPRESSED.index(mode.pixel_format)


def _area(size_wh: tuple[int, int]) -> int:
    return size_wh[0] * size_wh[1]
