"""A rendered street with walking people and their boxes: what the demo shows without a camera.

Everything is determined by seed and time, so that a scene can be repeated and used for training. Rendered with OpenCV
and numpy only; it is not photorealistic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edged.core.types import Floats, Pixels
from edged.demo.appearance import Appearance
from edged.demo.street import Camera, chance, draw_street
from edged.demo.walker import Figure, draw_walker

_MIN_VISIBLE = 0.3  # share of a person's pixels; with fewer visible there is no box
_SOLID = 0.5  # a pixel with more cover counts as the person's
_MIN_HEIGHT = 0.04  # share of the picture's height; smaller people have no box
_SMALLEST = 0.08  # share of the picture's height: people are never smaller by distance
_ADULT_M = 1.7
_NOISE_FRAMES_PER_S = 25


@dataclass(frozen=True, slots=True)
class _Walk:
    """One person's path: straight, at constant speed, repeated from its start.

    Attributes:
        appearance: of the person.
        distance_m: from the camera at the middle of the path.
        heading: radians; 0 to the right, pi/2 away from the camera.
        speed_m_s: of walking.
        start_m: position on the path at time 0.
        length_m: of the path.
    """

    appearance: Appearance
    distance_m: float
    heading: float
    speed_m_s: float
    start_m: float
    length_m: float

    def at(self, t_s: float) -> tuple[float, float, float]:
        """Position across and away from the camera, and the distance walked, metres."""
        walked = self.start_m + self.speed_m_s * t_s
        place = walked % self.length_m - self.length_m / 2
        away = self.distance_m + place * math.sin(self.heading)
        return place * math.cos(self.heading), away, walked


class Scene:
    """One street, one camera, its people and its light.

    Args:
        seed: the same seed gives the same pictures.
        size_wh: width and height of the pictures.
        people: number of people; None for 1 to 8 at random. Not all are in the picture all the time.
    """

    def __init__(self, seed: int, size_wh: tuple[int, int] = (640, 360), *, people: int | None = None) -> None:
        rng = np.random.default_rng([0xED6ED, seed])
        width, height = size_wh
        self._seed = seed
        self._camera = Camera(
            size_wh=size_wh,
            horizon=height * float(rng.uniform(0.12, 0.45)),
            height_m=float(rng.uniform(1.4, 4.5)),
            focal_px=width * float(rng.uniform(0.8, 1.5)),
        )
        self._street = draw_street(self._camera, rng)
        self._light = float(rng.uniform(-0.9, 0.9))
        self._shadow = float(rng.uniform(0.0, 0.7))
        self._shadow_slant = float(rng.uniform(-1.2, 1.2))
        self._blur = float(rng.uniform(0.25, 1.0)) * width / 640
        self._noise = float(rng.uniform(1.0, 7.0))
        self._tone = rng.uniform(0.93, 1.07, 3) * rng.uniform(0.75, 1.15)
        count = int(rng.integers(1, 9)) if people is None else people
        self._walks = [self._walk(rng) for _ in range(count)]

    def frame(self, t_s: float) -> tuple[Pixels, Floats]:
        """The picture and its boxes at a time.

        Args:
            t_s: seconds from the start, at least 0.

        Returns:
            (H, W, 3) uint8 BGR, and the boxes of the people in it: (N, 4) float32 xyxy, picture pixels. People who are
            mostly hidden or cut off have no box.
        """
        picture = self._street.astype(np.float32)
        owner = np.full(picture.shape[:2], -1, np.int16)
        placed = sorted((walk.at(t_s)[1], number) for number, walk in enumerate(self._walks))
        sizes = {number: self._draw(picture, owner, number, t_s) for _, number in reversed(placed)}
        boxes = [box for number in sorted(sizes) if (box := _visible_box(owner == number, sizes[number])) is not None]
        return self._developed(picture, t_s), np.array(boxes, np.float32).reshape(-1, 4)

    def _walk(self, rng: np.random.Generator) -> _Walk:
        """A random path on the visible ground, mostly across the picture, sometimes towards the camera or away."""
        camera = self._camera
        height = camera.size_wh[1]
        nearest = camera.height_m * camera.focal_px / (height * 0.97 - camera.horizon)
        farthest = max(nearest, _ADULT_M * camera.focal_px / (height * _SMALLEST))
        distance = min(nearest * float(rng.uniform(1.0, 1.0 + rng.uniform(0.3, 4.0))), 0.9 * farthest)
        across = chance(0.7, rng)
        sign = 1 if chance(0.5, rng) else -1
        heading = float(rng.normal(0, 0.25)) if across else sign * float(rng.normal(math.pi / 2, 0.4))
        if across and sign < 0:
            heading += math.pi
        half_view = camera.size_wh[0] / 2 / camera.px_per_m(distance)
        length = 2 * half_view + 3.0 if across else min(half_view, distance - 0.7 * nearest, farthest - distance) * 2
        return _Walk(
            appearance=Appearance.random(rng),
            distance_m=distance,
            heading=heading,
            speed_m_s=float(rng.uniform(0.8, 1.6)),
            start_m=float(rng.uniform(0, length)),
            length_m=length,
        )

    def _draw(
        self, picture: Floats, owner: np.ndarray[tuple[int, ...], np.dtype[np.int16]], number: int, t_s: float
    ) -> int:
        """Draw shadow and person into `picture`, and its pixels into `owner`; returns the person's number of pixels."""
        walk = self._walks[number]
        across, away, walked = walk.at(t_s)
        if away < 1.0:
            return 0
        figure = draw_walker(
            walk.appearance,
            phase=2 * math.pi * walked / walk.appearance.stride_m,
            heading=walk.heading,
            light=self._light,
            px_per_m=self._camera.px_per_m(away),
        )
        foot = self._camera.ground(across, away)
        self._cast_shadow(picture, figure, foot)
        left, top = round(foot[0] - figure.foot[0]), round(foot[1] - figure.foot[1])
        inside = _overlap(figure.cover.shape, picture.shape, left, top)
        if inside is not None:
            there, here = inside
            cover = figure.cover[here][..., None]
            # Far things look paler.
            haze = min(0.35, away / 120)
            colours = figure.pixels[here] * np.float32(1 - haze) + np.float32(165 * haze)
            picture[there] = picture[there] * (1 - cover) + colours * cover
            owner[there][cover[..., 0] > _SOLID] = number
        return int((figure.cover > _SOLID).sum())

    def _cast_shadow(self, picture: Floats, figure: Figure, foot: tuple[float, float]) -> None:
        """Darken `picture` where the figure's outline falls on the ground, away from the light."""
        height, width = picture.shape[:2]
        squash = 0.22
        matrix = np.array([[1, self._shadow_slant * 0.6, 0], [0, squash, 0]], np.float64)
        matrix[:, 2] = np.array(foot) - matrix[:, :2] @ np.array(figure.foot)
        shade = cv2.warpAffine(figure.cover, matrix, (width, height))
        softened = cv2.GaussianBlur(shade, (0, 0), 1.5)
        picture *= (1 - self._shadow * softened)[..., None]

    def _developed(self, picture: Floats, t_s: float) -> Pixels:
        """Simulate lens, light and sensor: blur, colour cast, noise."""
        rng = np.random.default_rng([self._seed, round(t_s * _NOISE_FRAMES_PER_S)])
        blurred = cv2.GaussianBlur(picture, (0, 0), max(0.2, self._blur))
        grain = rng.normal(0, self._noise, picture.shape[:2]).astype(np.float32)[..., None]
        return np.clip(np.asarray(blurred) * self._tone + grain, 0, 255).astype(np.uint8)


def _overlap(
    figure_hw: tuple[int, ...], picture_hw: tuple[int, ...], left: int, top: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """The part of the picture that the figure covers, and the same part of the figure; None when there is none."""
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + figure_hw[1], picture_hw[1]), min(top + figure_hw[0], picture_hw[0])
    if x1 >= x2 or y1 >= y2:
        return None
    return (slice(y1, y2), slice(x1, x2)), (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))


def _visible_box(mine: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], size: int) -> tuple[int, int, int, int] | None:
    """x1, y1, x2, y2 around a person's visible pixels; None when too few are visible."""
    if not size or mine.sum() < _MIN_VISIBLE * size:
        return None
    rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
    if rows[-1] - rows[0] < _MIN_HEIGHT * len(mine):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
