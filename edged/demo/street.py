"""Draws the empty street of a scene: sky, houses, trees, pavement, road, parked cars and posts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edged.core.types import Floats, Pixels

Colour = tuple[float, float, float]  # BGR, 0..255


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that looks along the ground.

    Attributes:
        size_wh: of its picture, pixels.
        horizon: row of the horizon, pixels.
        height_m: above the ground.
        focal_px: focal length, pixels.
    """

    size_wh: tuple[int, int]
    horizon: float
    height_m: float
    focal_px: float

    def px_per_m(self, distance_m: float) -> float:
        """Pixels per metre at a distance."""
        return self.focal_px / distance_m

    def ground(self, across_m: float, distance_m: float) -> tuple[float, float]:
        """Position of a point of the ground in the picture: x, y, pixels."""
        scale = self.px_per_m(distance_m)
        return self.size_wh[0] / 2 + across_m * scale, self.horizon + self.height_m * scale


def draw_street(camera: Camera, rng: np.random.Generator) -> Pixels:
    """Draw a random street without people, (H, W, 3) uint8 BGR."""
    width, height = camera.size_wh
    picture = _sky(camera, rng)
    _houses(picture, camera, rng)
    _trees(picture, camera, rng)
    _ground(picture, camera, rng)
    for distance in sorted(rng.uniform(6, 40, rng.integers(0, 5)), reverse=True):
        _car(picture, camera, float(distance), rng)
    for distance in sorted(rng.uniform(4, 35, rng.integers(0, 6)), reverse=True):
        _post(picture, camera, float(distance), rng)
    texture = 1 + 0.05 * noise((width, height), rng, octaves=6)[..., None]
    return np.clip(picture * texture, 0, 255).astype(np.uint8)


def chance(probability: float, rng: np.random.Generator) -> bool:
    """True with a probability of 0..1."""
    return bool(rng.random() < probability)


def noise(size_wh: tuple[int, int], rng: np.random.Generator, *, octaves: int) -> Floats:
    """(H, W) float32 of about unit deviation: random values at several scales, added up."""
    width, height = size_wh
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 3 * 2**octave
        grid = rng.normal(0, 1, (min(height, cells), min(width, cells * 2))).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.75**octave)
    return np.asarray(total / max(float(total.std()), 1e-6), np.float32)


def _sky(camera: Camera, rng: np.random.Generator) -> Pixels:
    width, height = camera.size_wh
    top, low = np.array(_tone(rng, (200, 160, 120), 40)), np.array(_tone(rng, (230, 220, 210), 20))
    rise = np.linspace(0, 1, height)[:, None, None]
    clouds = 12 * noise(camera.size_wh, rng, octaves=4)[..., None] * (1 - rise)
    return np.clip(top * (1 - rise) + low * rise + clouds + np.zeros((1, width, 1)), 0, 255).astype(np.uint8)


def _houses(picture: Pixels, camera: Camera, rng: np.random.Generator) -> None:
    """Draw a row of fronts with windows and doors, on the ground at one distance."""
    if chance(0.2, rng):
        return
    width = camera.size_wh[0]
    distance = float(rng.uniform(18, 45))
    scale = camera.px_per_m(distance)
    base = round(camera.ground(0, distance)[1])
    left = -rng.uniform(0, 8) * scale
    while left < width:
        right = left + rng.uniform(6, 16) * scale
        roof = base - rng.uniform(5, 16) * scale
        wall = _tone(rng, (150, 160, 170), 55)
        cv2.rectangle(picture, (round(left), round(roof)), (round(right), base), wall, -1)
        _openings(picture, (left, roof, right, base), scale, wall, rng)
        left = right + (rng.uniform(0, 3) * scale if chance(0.3, rng) else 0)


def _openings(
    picture: Pixels, front: tuple[float, float, float, float], scale: float, wall: Colour, rng: np.random.Generator
) -> None:
    left, roof, right, base = front
    pane, frame = _tone(rng, (70, 65, 60), 35), tuple(min(255.0, channel * 1.25) for channel in wall)
    step_x, step_y = rng.uniform(1.8, 3.2) * scale, rng.uniform(2.6, 3.4) * scale
    size_x, size_y = rng.uniform(0.8, 1.5) * scale, rng.uniform(1.2, 1.9) * scale
    for y in np.arange(base - rng.uniform(1.0, 1.4) * scale - size_y, roof + 0.4 * scale, -step_y):
        for x in np.arange(left + 0.6 * scale, right - size_x - 0.3 * scale, step_x):
            start, end = _pixel((x, y)), _pixel((x + size_x, y + size_y))
            cv2.rectangle(picture, start, end, _shaded(pane, rng), -1)
            cv2.rectangle(picture, start, end, frame, max(1, round(0.08 * scale)))
    for x in np.arange(left + rng.uniform(0.5, 3) * scale, right - 1.5 * scale, rng.uniform(4, 8) * scale):
        start, end = _pixel((x, base - 2.2 * scale)), _pixel((x + 1.1 * scale, base))
        cv2.rectangle(picture, start, end, _tone(rng, (70, 80, 100), 50), -1)


def _trees(picture: Pixels, camera: Camera, rng: np.random.Generator) -> None:
    for distance in sorted(rng.uniform(10, 40, rng.integers(0, 6)), reverse=True):
        scale = camera.px_per_m(float(distance))
        x, base = camera.ground(float(rng.uniform(-0.6, 0.6)) * camera.size_wh[0] / scale, float(distance))
        top = base - rng.uniform(3, 8) * scale
        thick = max(1, round(rng.uniform(0.2, 0.45) * scale))
        cv2.line(picture, (round(x), round(base)), (round(x), round(top)), _tone(rng, (45, 60, 75), 15), thick)
        leaf = _tone(rng, (50, 110, 80), 30)
        for _ in range(40):
            spot = rng.normal((x, top), (0.9 * scale, 0.8 * scale))
            radius = max(1, round(rng.uniform(0.2, 0.6) * scale))
            cv2.circle(picture, (round(spot[0]), round(spot[1])), radius, _shaded(leaf, rng), -1, cv2.LINE_AA)


def _ground(picture: Pixels, camera: Camera, rng: np.random.Generator) -> None:
    """Draw pavement or grass up to the camera, sometimes a road across it with markings and kerbs."""
    width, height = camera.size_wh
    start = max(0, round(camera.ground(0, 48.0)[1]))
    grey = chance(0.8, rng)
    base = np.array(_tone(rng, (150, 152, 155), 35) if grey else _tone(rng, (60, 120, 95), 25))
    rows = np.linspace(0.85, 1.08, max(1, height - start))[:, None, None]
    grain = 1 + 0.06 * noise((width, max(1, height - start)), rng, octaves=7)[..., None]
    picture[start:] = np.clip(base * rows * grain, 0, 255).astype(np.uint8)
    if grey:
        _slabs(picture, camera, rng)
    if chance(0.7, rng):
        _road(picture, camera, rng)


def _slabs(picture: Pixels, camera: Camera, rng: np.random.Generator) -> None:
    step = float(rng.uniform(0.6, 2.5))
    colour = _tone(rng, (120, 122, 125), 15)
    far = 40.0
    for across in np.arange(-30, 30, step * 2):
        start, end = (_pixel(camera.ground(float(across), distance)) for distance in (2.0, far))
        cv2.line(picture, start, end, colour, 1, cv2.LINE_AA)
    for distance in np.arange(2.0, far / 2, step):
        y = round(camera.ground(0, float(distance))[1])
        cv2.line(picture, (0, y), (picture.shape[1], y), colour, 1)


def _road(picture: Pixels, camera: Camera, rng: np.random.Generator) -> None:
    near = float(rng.uniform(7, 18))
    far = near + float(rng.uniform(5, 9))
    top, bottom = round(camera.ground(0, far)[1]), round(camera.ground(0, near)[1])
    if bottom <= top or top >= picture.shape[0]:
        return
    bottom = min(bottom, picture.shape[0])
    tone = np.array(_tone(rng, (85, 85, 88), 18))
    grain = 1 + 0.07 * noise((picture.shape[1], bottom - top), rng, octaves=7)[..., None]
    picture[top:bottom] = np.clip(tone * grain, 0, 255).astype(np.uint8)
    for y in (top, bottom):
        cv2.line(picture, (0, y), (picture.shape[1], y), _tone(rng, (175, 175, 175), 20), 2)
    middle = (near + far) / 2
    for across in np.arange(-30, 30, 4):
        start, end = (_pixel(camera.ground(float(across) + shift, middle)) for shift in (0, 2))
        thick = max(1, round(0.12 * camera.px_per_m(middle)))
        cv2.line(picture, start, end, (215, 215, 215), thick)


def _car(picture: Pixels, camera: Camera, distance: float, rng: np.random.Generator) -> None:
    """Draw a parked car from the side: body, cabin, windows, wheels, shadow."""
    scale = camera.px_per_m(distance)
    x, base = camera.ground(float(rng.uniform(-0.6, 0.6)) * camera.size_wh[0] / scale, distance)
    paint = _tone(rng, (120, 120, 120), 100)
    cabin_from, cabin_to = rng.uniform(0.6, 1.3), rng.uniform(2.9, 4.0)
    outline = [(0, 0.3), (0.05, 0.85), (cabin_from, 0.95), (cabin_from + 0.6, 1.45), (cabin_to - 0.5, 1.45)]
    outline += [(cabin_to, 0.95), (4.2, 0.8), (4.3, 0.3)]
    glass = [(cabin_from + 0.15, 0.97), (cabin_from + 0.65, 1.38), (cabin_to - 0.55, 1.38), (cabin_to - 0.15, 0.97)]
    middle = (round(x + 2.15 * scale), round(base))
    cv2.ellipse(picture, middle, (max(1, round(2.2 * scale)), max(1, round(0.18 * scale))), 0, 0, 360, (45, 45, 48), -1)
    for shape, colour in ((outline, paint), (glass, (75, 65, 55))):
        points = np.array([(x + across * scale, base - up * scale) for across, up in shape])
        cv2.fillPoly(picture, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA)
    for across in (0.8, 3.4):
        for radius, colour in ((0.33, (28, 28, 30)), (0.19, (150, 150, 150))):
            spot = (round(x + across * scale), round(base - 0.3 * scale))
            cv2.circle(picture, spot, max(1, round(radius * scale)), colour, -1, cv2.LINE_AA)


def _post(picture: Pixels, camera: Camera, distance: float, rng: np.random.Generator) -> None:
    """Draw something that a detector might take for a person: lamp post, bollard, bin or sign."""
    scale = camera.px_per_m(distance)
    x, base = camera.ground(float(rng.uniform(-0.55, 0.55)) * camera.size_wh[0] / scale, distance)
    tall, thick = [(5.0, 0.12), (1.0, 0.22), (1.1, 0.5), (2.4, 0.08)][rng.integers(4)]
    colour = _tone(rng, (80, 85, 85), 50)
    left, right = round(x - thick / 2 * scale), round(x + thick / 2 * scale)
    cv2.rectangle(picture, (left, round(base - tall * scale)), (right, round(base)), colour, -1)
    lit = tuple(min(255.0, channel * 1.2) for channel in colour)
    cv2.rectangle(picture, (left, round(base - tall * scale)), ((left + right) // 2, round(base)), lit, -1)
    if thick < 0.1:  # noqa: PLR2004  # the sign post has a sign
        low, high = (
            _pixel((x + 0.35 * scale, base - (tall - 0.6) * scale)),
            _pixel((x - 0.35 * scale, base - tall * scale)),
        )
        cv2.rectangle(picture, low, high, _tone(rng, (120, 120, 160), 100), -1)


def _pixel(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _tone(rng: np.random.Generator, around: Colour, spread: float) -> Colour:
    """A random colour near another; brightness varies most."""
    shared = rng.uniform(-spread, spread)
    return tuple(float(np.clip(c + shared + rng.uniform(-0.3, 0.3) * spread, 5, 250)) for c in around)  # type: ignore[return-value]


def _shaded(colour: Colour, rng: np.random.Generator) -> Colour:
    gain = rng.uniform(0.75, 1.25)
    return tuple(float(np.clip(channel * gain, 0, 255)) for channel in colour)  # type: ignore[return-value]
