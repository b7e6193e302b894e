"""Draws a walking person for rendered scenes: a jointed figure with clothes, shading and an outline.

The figure is built in metres (forward, up, sideways), turned to its heading and projected without perspective; only its
size depends on the camera. Joint angles are sines of the walking phase, a common approximation of gait.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edged.core.types import Floats, Pixels
from edged.demo.appearance import Appearance
from edged.demo.street import Colour

Point3 = npt.NDArray[np.float64]  # forward, up, sideways; metres

_DRAWN_PX_PER_M = 130.0  # figures are drawn at this size and scaled down, which smooths their edges
_MARGIN_M = 0.7
_SAME_CLOTH = 60  # largest difference that shading makes to a colour


class Limb(NamedTuple):
    """A rounded piece between two joints, with a radius at each end."""

    start: Point3
    end: Point3
    start_radius_m: float
    end_radius_m: float
    colour: Colour


class Figure(NamedTuple):
    """A drawn person.

    Attributes:
        pixels: (H, W, 3) uint8, BGR.
        cover: (H, W) float32, 0..1: how much of each pixel is the person.
        foot: x, y of the ground point below the hips, pixels of the figure.
    """

    pixels: Pixels
    cover: Floats
    foot: tuple[float, float]


def draw_walker(person: Appearance, *, phase: float, heading: float, light: float, px_per_m: float) -> Figure:
    """Draw one moment of a walk.

    Args:
        person: how the person is dressed and built.
        phase: of the double step, radians.
        heading: radians; 0 walks to the right, pi/2 away from the camera.
        light: where it comes from, -1 left to 1 right.
        px_per_m: pixels per metre.
    """
    limbs = sorted(_limbs(person, phase), key=lambda limb: _depth(limb, heading), reverse=True)
    width = round(2 * _MARGIN_M * _DRAWN_PX_PER_M)
    height = round((person.height_m + 0.35) * _DRAWN_PX_PER_M)
    foot = (width / 2, height - 0.15 * _DRAWN_PX_PER_M)
    pixels = np.zeros((height, width, 3), np.uint8)
    cover = np.zeros((height, width), np.uint8)
    for limb in limbs:
        _draw_limb(pixels, cover, limb, heading=heading, light=light, foot=foot)
    _draw_cloth(pixels, cover, person)
    scale = px_per_m / _DRAWN_PX_PER_M
    size = (max(2, round(width * scale)), max(4, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    # Colours are scaled with their cover and divided by it again, else black would mix in at the edges.
    small_cover = cv2.resize(cover.astype(np.float32) / 255, size, interpolation=method)
    weighted = cv2.resize(pixels * (cover[..., None] / np.float32(255)), size, interpolation=method)
    colours = weighted / np.maximum(small_cover, 1e-3)[..., None]
    return Figure(
        np.clip(colours, 0, 255).astype(np.uint8),
        np.asarray(small_cover, np.float32),
        (foot[0] * size[0] / width, foot[1] * size[1] / height),
    )


def _limbs(person: Appearance, phase: float) -> list[Limb]:
    """All limbs of the figure at a walking phase."""
    tall, wide = person.height_m, person.girth * person.height_m / 1.72
    bob = 0.02 * tall * math.cos(2 * phase)
    hip_up, neck_up = 0.53 * tall + bob, 0.83 * tall + bob
    lean = 0.03 * tall
    hips, neck = _at(0, hip_up, 0), _at(lean, neck_up, 0)
    pieces: list[Limb] = []
    for side, shift in ((-1, 0.0), (1, math.pi)):
        pieces += _leg(person, phase + shift, side * 0.085 * wide, hip_up)
        pieces += _arm(person, phase + shift + math.pi, side * 0.19 * wide, neck_up - 0.04 * tall, lean)
    torso = 0.5 * (hips + neck)
    pieces += [
        Limb(
            hips + _at(0, -0.03 * tall, 0),
            torso,
            0.155 * wide,
            0.15 * wide,
            person.top if person.coat else person.legwear,
        ),
        Limb(hips + _at(0, 0.06 * tall, 0), neck + _at(0, -0.07 * tall, 0), 0.15 * wide, 0.185 * wide, person.top),
        Limb(neck + _at(0, -0.02, 0), neck + _at(0.01, 0.06 * tall, 0), 0.055 * wide, 0.05 * wide, person.skin),
    ]
    pieces += _head(person, neck, tall)
    if person.coat or person.skirt:
        cloth, length = (person.top, 0.22) if person.coat else (person.legwear, 0.2)
        pieces.append(Limb(hips + _at(0, 0.03, 0), hips + _at(0, -length * tall, 0), 0.16 * wide, 0.2 * wide, cloth))
    if person.backpack:
        back = _at(-0.2 * wide, 0, 0)
        pieces.append(Limb(neck + back + _at(0, -0.1, 0), torso + back, 0.12 * wide, 0.14 * wide, person.accent))
    if person.bag:
        pieces.append(
            Limb(_at(0.02, hip_up, 0.26 * wide), _at(0.04, hip_up - 0.2, 0.26 * wide), 0.08, 0.11, person.accent)
        )
    return pieces


def _leg(person: Appearance, phase: float, side_m: float, hip_up: float) -> list[Limb]:
    """Thigh, shin and shoe. The knee bends most while the leg swings forward."""
    thigh, shin = 0.5 * hip_up, 0.47 * hip_up
    reach = min(0.55, person.stride_m / (4 * hip_up) * 1.3)
    swing = reach * math.sin(phase)
    bend = 0.12 + 0.85 * max(0.0, math.cos(phase)) ** 2
    hip = _at(0, hip_up, side_m)
    knee = hip + thigh * _at(math.sin(swing), -math.cos(swing), 0)
    ankle = knee + shin * _at(math.sin(swing - bend), -math.cos(swing - bend), 0)
    toe = ankle + 0.12 * person.height_m * _at(math.cos(swing - bend), math.sin(swing - bend) * 0.6 - 0.2, 0)
    w = person.girth * person.height_m / 1.72
    shin_colour = person.skin if person.skirt else person.legwear
    return [
        Limb(hip, knee, 0.095 * w, 0.068 * w, person.skin if person.skirt else person.legwear),
        Limb(knee, ankle, 0.066 * w, 0.05 * w, shin_colour),
        Limb(ankle, toe, 0.052 * w, 0.038 * w, person.shoes),
    ]


def _arm(person: Appearance, phase: float, side_m: float, shoulder_up: float, lean: float) -> list[Limb]:
    upper, lower = 0.17 * person.height_m, 0.16 * person.height_m
    swing = person.swing * math.sin(phase)
    bend = 0.25 + 0.3 * max(0.0, math.sin(phase))
    shoulder = _at(lean, shoulder_up, side_m)
    elbow = shoulder + upper * _at(math.sin(swing), -math.cos(swing), 0.12 * math.copysign(1, side_m))
    hand = elbow + lower * _at(math.sin(swing + bend), -math.cos(swing + bend), 0)
    w = person.girth * person.height_m / 1.72
    return [
        Limb(shoulder, elbow, 0.062 * w, 0.05 * w, person.top),
        Limb(elbow, hand, 0.048 * w, 0.037 * w, person.top if person.long_sleeves or person.coat else person.skin),
        Limb(hand, hand + _at(0.02, -0.06, 0), 0.04, 0.033, person.skin),
    ]


def _head(person: Appearance, neck: Point3, tall: float) -> list[Limb]:
    middle = neck + _at(0.02 * tall, 0.105 * tall, 0)
    radius = 0.058 * tall
    pieces = [
        Limb(middle + _at(-0.012, 0.025, 0), middle + _at(-0.03, -0.01, 0), radius * 1.08, radius * 1.02, person.hair),
        Limb(middle + _at(0.022, 0.008, 0), middle + _at(0.025, -0.035, 0), radius * 0.88, radius * 0.7, person.skin),
    ]
    if person.long_hair:
        pieces.append(
            Limb(middle + _at(-0.04, 0, 0), neck + _at(-0.07, -0.06 * tall, 0), radius, radius * 0.8, person.hair)
        )
    if person.hat:
        crown = middle + _at(0, 0.065, 0)
        pieces.append(
            Limb(crown + _at(-0.02, 0, 0), crown + _at(0.07, 0, 0), radius * 0.95, radius * 0.7, person.accent)
        )
    return pieces


def _draw_limb(
    pixels: Pixels, cover: Pixels, limb: Limb, *, heading: float, light: float, foot: tuple[float, float]
) -> None:
    """Draw a dark outline, the colour, and a lighter streak on the lit side, which looks round without normals."""
    start, end = _project(limb.start, heading, foot), _project(limb.end, heading, foot)
    radii = limb.start_radius_m * _DRAWN_PX_PER_M, limb.end_radius_m * _DRAWN_PX_PER_M
    _capsule(cover, start, end, radii, (255,))
    for share, brightness in ((1.0, 0.62), (0.86, 0.82), (0.62, 1.0), (0.3, 1.1)):
        shift = light * (1 - share)
        moved = [(x + shift * radius, y) for (x, y), radius in zip((start, end), radii, strict=True)]
        colour = tuple(min(255.0, channel * brightness) for channel in limb.colour)
        _capsule(pixels, moved[0], moved[1], (radii[0] * share, radii[1] * share), colour)


def _capsule(
    canvas: Pixels,
    start: tuple[float, float],
    end: tuple[float, float],
    radii: tuple[float, float],
    colour: tuple[float, ...],
) -> None:
    """Draw two discs and the quadrilateral between them into `canvas`."""
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    for (x, y), radius in zip((start, end), radii, strict=True):
        cv2.circle(canvas, (round(x * 16), round(y * 16)), max(1, round(radius * 16)), colour, -1, cv2.LINE_AA, 4)
    if length < 1:
        return
    across = ((end[1] - start[1]) / length, (start[0] - end[0]) / length)
    corners = [
        (x + sign * across[0] * radius, y + sign * across[1] * radius)
        for (x, y), radius, sign in (
            (start, radii[0], 1), (start, radii[0], -1), (end, radii[1], -1), (end, radii[1], 1),
        )
    ]  # fmt: skip
    cv2.fillConvexPoly(canvas, np.round(np.array(corners) * 16).astype(np.int32), colour, cv2.LINE_AA, 4)


def _draw_cloth(pixels: Pixels, cover: Pixels, person: Appearance) -> None:
    """Add folds, texture, and stripes where the person has them, to `pixels`; the same at every step of a walk."""
    rng = np.random.default_rng(int(person.height_m * 1e6))
    height, width = cover.shape
    coarse = rng.normal(0, 1, (height // 14 + 2, width // 8 + 2)).astype(np.float32)
    fine = rng.normal(0, 1, (height, width)).astype(np.float32)
    gain = 1 + 0.09 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + 0.03 * fine
    if person.stripes:
        chest = slice(round(height * 0.2), round(height * 0.48))
        rows = np.arange(height)[chest] // 7 % 2 == 0
        is_top = np.abs(pixels[chest].astype(np.int16) - np.array(person.top, np.int16)).max(axis=2) < _SAME_CLOTH
        striped = np.where((is_top & rows[:, None])[..., None], np.array(person.accent, np.uint8), pixels[chest])
        pixels[chest] = striped
    pixels[:] = np.clip(pixels * gain[..., None], 0, 255).astype(np.uint8)


def _at(forward: float, up: float, sideways: float) -> Point3:
    return np.array((forward, up, sideways), np.float64)


def _project(point: Point3, heading: float, foot: tuple[float, float]) -> tuple[float, float]:
    forward, up, sideways = point
    away = forward * math.sin(heading) - sideways * math.cos(heading)
    x = forward * math.cos(heading) + sideways * math.sin(heading)
    # Seen from a little above: what is farther away stands higher in the picture.
    return foot[0] + float(x) * _DRAWN_PX_PER_M, foot[1] - float(up + 0.12 * away) * _DRAWN_PX_PER_M


def _depth(limb: Limb, heading: float) -> float:
    """Distance from the camera, to draw the farthest limbs first; thick ones count as a little nearer."""
    middle = (limb.start + limb.end) / 2
    return float(middle[0] * math.sin(heading) - middle[2] * math.cos(heading)) - 0.3 * limb.end_radius_m
