"""Random appearance of the people in a rendered scene: build, clothes, colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edged.demo.street import Colour, chance

_SKINS: tuple[Colour, ...] = ((170, 195, 235), (140, 175, 225), (110, 150, 205), (75, 105, 160), (45, 65, 105))
_HAIR: tuple[Colour, ...] = (
    (25, 25, 30),
    (35, 50, 75),
    (50, 85, 130),
    (95, 150, 190),
    (120, 120, 125),
    (200, 200, 205),
)
_LEGWEAR: tuple[Colour, ...] = (
    (95, 65, 45),
    (70, 45, 30),
    (35, 35, 38),
    (60, 60, 62),
    (110, 140, 165),
    (85, 90, 80),
    (130, 105, 80),
)


@dataclass(frozen=True, slots=True)
class Appearance:
    """The appearance of one person.

    Attributes:
        height_m: from sole to crown.
        girth: factor on all widths.
        skin, hair, top, legwear, shoes, accent: colours; `accent` of hat, bags and stripes.
        long_sleeves, coat, skirt, long_hair, hat, backpack, bag, stripes: whether the person has them.
        stride_m: length of one double step.
        swing: amplitude of the arms, radians.
    """

    height_m: float
    girth: float
    skin: Colour
    hair: Colour
    top: Colour
    legwear: Colour
    shoes: Colour
    accent: Colour
    long_sleeves: bool
    coat: bool
    skirt: bool
    long_hair: bool
    hat: bool
    backpack: bool
    bag: bool
    stripes: bool
    stride_m: float
    swing: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Appearance:
        """A random person."""
        child = chance(0.1, rng)
        height = float(rng.uniform(1.05, 1.4) if child else rng.normal(1.72, 0.09))
        return cls(
            height_m=min(max(height, 1.0), 2.0),
            girth=float(rng.uniform(0.85, 1.3)),
            skin=_varied(_SKINS[rng.integers(len(_SKINS))], rng),
            hair=_varied(_HAIR[rng.integers(len(_HAIR))], rng),
            top=_any_colour(rng),
            legwear=_varied(_LEGWEAR[rng.integers(len(_LEGWEAR))], rng) if chance(0.8, rng) else _any_colour(rng),
            shoes=_any_colour(rng) if chance(0.3, rng) else _varied((45, 45, 50), rng),
            accent=_any_colour(rng),
            long_sleeves=chance(0.6, rng),
            coat=chance(0.25, rng),
            skirt=chance(0.15, rng),
            long_hair=chance(0.35, rng),
            hat=chance(0.15, rng),
            backpack=chance(0.2, rng),
            bag=chance(0.2, rng),
            stripes=chance(0.2, rng),
            stride_m=float(rng.uniform(1.2, 1.6)) * height / 1.72,
            swing=float(rng.uniform(0.25, 0.6)),
        )


def _varied(colour: Colour, rng: np.random.Generator) -> Colour:
    gain = rng.uniform(0.8, 1.2)
    return tuple(float(np.clip(channel * gain + rng.normal(0, 6), 8, 250)) for channel in colour)  # type: ignore[return-value]


def _any_colour(rng: np.random.Generator) -> Colour:
    """A colour of clothes: any hue, rarely saturated, often dark, grey or white."""
    hue, saturation, value = rng.uniform(0, 180), 255 * rng.beta(1.3, 1.8), 255 * rng.uniform(0.12, 0.95)
    pixel = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return float(pixel[0]), float(pixel[1]), float(pixel[2])
