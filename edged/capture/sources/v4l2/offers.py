"""What a device offers: pixel formats, their sizes, and the rates of those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edged.capture.sources.v4l2.uapi import fourcc, fourcc_text

# By the names of `pixel_format`: V4L2's letters, of which a device has one, and FFmpeg's name.
FORMATS: dict[str, tuple[tuple[str, ...], str]] = {
    "mjpeg": (("MJPG", "JPEG"), "mjpeg"),
    "h264": (("H264",), "h264"),
    "h265": (("HEVC",), "hevc"),
    "yuyv": (("YUYV",), "yuyv422"),
    "uyvy": (("UYVY",), "uyvy422"),
    "nv12": (("NV12",), "nv12"),
    "yuv420": (("YU12",), "yuv420p"),
    "yuv422": (("422P",), "yuv422p"),
    "rgb24": (("RGB3",), "rgb24"),
    "bgr24": (("BGR3",), "bgr24"),
    "rgb565": (("RGBP",), "rgb565le"),
    "grey": (("GREY",), "gray"),
}
COMPRESSED = ("mjpeg", "h264", "h265")  # in the order in which they are preferred
_NAMES = {fourcc(letters): name for name, (all_letters, _) in FORMATS.items() for letters in all_letters}
NEAR = 0.01  # a rate of 30 is also 30000/1001
_MOST_UNREAD = 6
_MOST_TEXT = 1200  # letters, so that the whole of an error is shown


@dataclass(frozen=True, slots=True)
class Rates:
    """Frames per second, highest first; where `between` is true all from the last to the first. Empty: unknown."""

    values: tuple[float, ...] = ()
    between: bool = False

    def nearest(self, wanted: float) -> float:
        """The rate that is `wanted`, nearly; 0 where there is none, `wanted` itself where they are not known."""
        if not self.values or (self.between and self.values[-1] <= wanted <= self.values[0]):
            return wanted
        best = min(self.values, key=lambda rate: abs(rate - wanted))
        return best if abs(best - wanted) <= NEAR * wanted else 0.0

    def __str__(self) -> str:
        shown = [f"{rate:.4g}" for rate in self.values]
        return f"{shown[-1]} to {shown[0]}" if self.between else ", ".join(shown) or "unknown rates"


@dataclass(frozen=True, slots=True)
class Sizes:
    """One size (`least` is `most`), or all of a range in steps; all (width, height)."""

    least: tuple[int, int]
    most: tuple[int, int]
    step: tuple[int, int]
    rates: Rates

    def holds(self, size_wh: tuple[int, int]) -> bool:
        """Whether a size is one of them."""
        return all(
            low <= value <= high and (value - low) % step == 0
            for value, low, high, step in zip(size_wh, self.least, self.most, self.step, strict=True)
        )

    def largest_within(self, limit_wh: tuple[int, int]) -> tuple[int, int] | None:
        """The largest that is no wider and no higher than that; None where each is."""
        if any(low > limit for low, limit in zip(self.least, limit_wh, strict=True)):
            return None
        width, height = (
            low + (min(high, limit) - low) // step * step
            for low, high, step, limit in zip(self.least, self.most, self.step, limit_wh, strict=True)
        )
        return width, height

    def __str__(self) -> str:
        one, other = (f"{width}x{height}" for width, height in (self.least, self.most))
        return one if one == other else f"{one} to {other}"


@dataclass(frozen=True, slots=True)
class Offer:
    """One pixel format.

    Attributes:
        number: V4L2's.
        sizes: at least one.
    """

    number: int
    sizes: tuple[Sizes, ...]

    @property
    def name(self) -> str:
        """As `pixel_format` has it; V4L2's letters where edged does not read it."""
        return _NAMES.get(self.number) or fourcc_text(self.number)

    @property
    def readable(self) -> bool:
        """Whether edged reads it."""
        return self.number in _NAMES

    @property
    def modes(self) -> str:
        """Sizes and rates, for people."""
        by_rate: dict[str, list[str]] = {}
        for sizes in self.sizes:
            by_rate.setdefault(str(sizes.rates), []).append(str(sizes))
        return "; ".join(f"{', '.join(sizes)} at {rates}" for rates, sizes in by_rate.items())


def lines(offers: Sequence[Offer]) -> list[str]:
    """All offers for people, those with the same sizes and rates in one line."""
    by_modes: dict[str, tuple[list[str], list[str]]] = {}
    for offer in offers:
        by_modes.setdefault(offer.modes, ([], []))[not offer.readable].append(offer.name)
    return [
        f"{' '.join(filter(None, [', '.join(known), _unread(other)]))}: {modes}"
        for modes, (known, other) in by_modes.items()
    ]


def _unread(names: Sequence[str]) -> str:
    """The formats that edged does not read, in brackets."""
    more = len(names) - _MOST_UNREAD
    told = ", ".join(names[:_MOST_UNREAD]) + f" and {more} more" * (more > 0)
    return f"(not read by edged: {told})" if names else ""


def listed(offers: Sequence[Offer]) -> str:
    """All offers in one line, cut where they are very many."""
    text = " | ".join(lines(offers)) or "nothing"
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."


def facts(offers: Sequence[Offer]) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "pixel_format": offer.name,
            "readable": offer.readable,
            "sizes": [
                {
                    "least": list(sizes.least),
                    "most": list(sizes.most),
                    "rates": [round(rate, 3) for rate in sizes.rates.values],
                    "between": sizes.rates.between,
                }
                for sizes in offer.sizes
            ],
        }
        for offer in offers
    ]
