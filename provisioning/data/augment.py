"""Augmentation of training pictures: mosaic, affine map, colour, flips, mixup.

Sources: mosaic, Bochkovskiy et al. 2020 (YOLOv4), in YOLOv5's arrangement (four pictures around a random centre of a
canvas twice as large, then one affine map back to the input size); mixup, Zhang et al. 2018 (beta 32, 32). Every
random function takes a numpy Generator; its result depends only on that and on its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edged.core.letterbox import PAD_GREY
from edged.core.types import Floats, Ints, Pixels, require_array

_MIN_SIDE_PX = 2.0  # a box with a smaller side after the affine map is left out
_MIN_AREA_LEFT = 0.1  # and one of which a smaller share of the area is left
_MAX_ASPECT = 100.0  # and one with a larger ratio of its sides


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A picture and its objects.

    Attributes:
        pixels: (H, W, 3) uint8, BGR.
        xyxy: (N, 4) float32, pixels of this picture.
        class_id: (N,) int32.
    """

    pixels: Pixels
    xyxy: Floats
    class_id: Ints

    def __post_init__(self) -> None:
        require_array("pixels", self.pixels, np.uint8, (None, None, 3))
        require_array("xyxy", self.xyxy, np.float32, (None, 4))
        require_array("class_id", self.class_id, np.int32, (len(self.xyxy),))


@dataclass(frozen=True, slots=True)
class Affine:
    """Ranges of the random affine map.

    Attributes:
        degrees: largest rotation in either direction, degrees.
        translate: largest shift in either direction, as a fraction of the side.
        scale: the size is multiplied by 1 - scale to 1 + scale.
        shear: largest shear in either direction, degrees.
        perspective: largest coefficient of perspective, plus or minus, per pixel; 0 to 0.001.
    """

    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0


def mosaic(parts: Sequence[Labelled], *, side: int, rng: np.random.Generator) -> Labelled:
    """Place four pictures around a random centre of a grey canvas, (2 * `side`, 2 * `side`, 3).

    Args:
        parts: four pictures, each with a longer side of about `side` pixels.
        side: of the network's input, pixels.
        rng: chooses the centre.
    """
    canvas = np.full((2 * side, 2 * side, 3), PAD_GREY, np.uint8)
    centre_x, centre_y = (int(value) for value in rng.uniform(side / 2, 3 * side / 2, 2))
    boxes = []
    for corner, part in enumerate(parts):
        height, width = part.pixels.shape[:2]
        left = centre_x - width if corner % 2 == 0 else centre_x
        top = centre_y - height if corner < len(parts) // 2 else centre_y
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, 2 * side), min(top + height, 2 * side)
        canvas[y1:y2, x1:x2] = part.pixels[y1 - top : y2 - top, x1 - left : x2 - left]
        boxes.append(part.xyxy + np.array([left, top] * 2, np.float32))
    return Labelled(canvas, np.concatenate(boxes), np.concatenate([part.class_id for part in parts]))


def affine(
    picture: Labelled, ranges: Affine, *, output_wh: tuple[int, int], rng: np.random.Generator, gain: float = 1.0
) -> Labelled:
    """Apply a random affine (or perspective) map around the middle. Boxes of which too little is left are dropped.

    Args:
        picture: of any size; its middle is mapped near the middle of the output.
        ranges: of the random values.
        output_wh: size of the result, pixels.
        rng: chooses the map.
        gain: scale that is applied besides the random one.
    """
    height, width = picture.pixels.shape[:2]
    matrix = _random_matrix((width, height), output_wh, ranges, rng, gain)
    if ranges.perspective:
        pixels = cv2.warpPerspective(picture.pixels, matrix, output_wh, borderValue=(PAD_GREY,) * 3)
    else:
        pixels = cv2.warpAffine(picture.pixels, matrix[:2], output_wh, borderValue=(PAD_GREY,) * 3)
    mapped = _map_boxes(picture.xyxy, matrix)
    limit = np.array(output_wh * 2, np.float32)
    clipped = np.clip(mapped, np.float32(0), limit)
    kept = _still_visible(picture.xyxy * np.float32(_scale_of(matrix)), clipped)
    return Labelled(np.asarray(pixels, np.uint8), clipped[kept], picture.class_id[kept])


def shift_colours(pixels: Pixels, *, hue: float, saturation: float, value: float, rng: np.random.Generator) -> Pixels:
    """Multiply hue (modulo 360 degrees), saturation and value by random factors, each 1 plus or minus its argument.

    Args:
        pixels: (H, W, 3) uint8 BGR; not changed.
        hue: 0..1.
        saturation: 0..1.
        value: 0..1.
        rng: chooses the factors.
    """
    gains = 1 + rng.uniform(-1, 1, 3) * (hue, saturation, value)
    levels = np.arange(256, dtype=np.float64)
    tables = (
        ((levels * gains[0]) % 180).astype(np.uint8),  # OpenCV's hue counts half degrees
        np.clip(levels * gains[1], 0, 255).astype(np.uint8),
        np.clip(levels * gains[2], 0, 255).astype(np.uint8),
    )
    planes = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV))
    merged = cv2.merge([cv2.LUT(plane, table) for plane, table in zip(planes, tables, strict=True)])
    return np.asarray(cv2.cvtColor(merged, cv2.COLOR_HSV2BGR), np.uint8)


def flip(picture: Labelled, *, horizontally: bool) -> Labelled:
    """The picture and its boxes mirrored, left-right or upside-down."""
    height, width = picture.pixels.shape[:2]
    x1, y1, x2, y2 = picture.xyxy.T
    if horizontally:
        xyxy = np.stack((width - x2, y1, width - x1, y2), axis=1)
    else:
        xyxy = np.stack((x1, height - y2, x2, height - y1), axis=1)
    pixels = cv2.flip(picture.pixels, 1 if horizontally else 0)
    return Labelled(np.asarray(pixels, np.uint8), xyxy.astype(np.float32), picture.class_id)


def mixup(a: Labelled, b: Labelled, *, rng: np.random.Generator) -> Labelled:
    """Blend two pictures of the same size; the result has the objects of both."""
    share = float(rng.beta(32.0, 32.0))
    pixels = cv2.addWeighted(a.pixels, share, b.pixels, 1 - share, 0)
    xyxy = np.concatenate((a.xyxy, b.xyxy))
    return Labelled(np.asarray(pixels, np.uint8), xyxy, np.concatenate((a.class_id, b.class_id)))


def _random_matrix(
    size_wh: tuple[int, int], output_wh: tuple[int, int], ranges: Affine, rng: np.random.Generator, gain: float
) -> npt.NDArray[np.float64]:
    """(3, 3): the middle to 0, perspective, rotation and scale, shear, then to the output's middle plus a shift."""
    to_middle = np.array([[1, 0, -size_wh[0] / 2], [0, 1, -size_wh[1] / 2], [0, 0, 1]])
    tilt = np.eye(3)
    tilt[2, :2] = rng.uniform(-ranges.perspective, ranges.perspective, 2)
    angle = math.radians(rng.uniform(-ranges.degrees, ranges.degrees))
    size = gain * rng.uniform(1 - ranges.scale, 1 + ranges.scale)
    cosine, sine = size * math.cos(angle), size * math.sin(angle)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    shear_x, shear_y = np.tan(np.radians(rng.uniform(-ranges.shear, ranges.shear, 2)))
    shear = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]])
    shift = rng.uniform(0.5 - ranges.translate, 0.5 + ranges.translate, 2) * output_wh
    back = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
    matrix: npt.NDArray[np.float64] = back @ shear @ turn @ tilt @ to_middle
    return matrix


def _map_boxes(xyxy: Floats, matrix: npt.NDArray[np.float64]) -> Floats:
    """The upright boxes around the mapped corners."""
    x1, y1, x2, y2 = xyxy.T.astype(np.float64)
    corners = np.stack(
        [np.stack((x, y, np.ones_like(x)), axis=1) for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))], axis=1
    )  # (N, 4, 3)
    mapped = corners @ matrix.T
    points = mapped[..., :2] / mapped[..., 2:]
    return np.concatenate((points.min(axis=1), points.max(axis=1)), axis=1).astype(np.float32)


def _scale_of(matrix: npt.NDArray[np.float64]) -> float:
    return math.sqrt(abs(float(np.linalg.det(matrix[:2, :2]))))


def _still_visible(before: Floats, after: Floats) -> npt.NDArray[np.bool_]:
    """(N,) bool: boxes of which enough is left; `before` is not clipped, both are xyxy in output pixels."""
    old, new = before[:, 2:] - before[:, :2], after[:, 2:] - after[:, :2]
    epsilon = np.float32(1e-9)
    aspect = np.maximum(new[:, 0] / (new[:, 1] + epsilon), new[:, 1] / (new[:, 0] + epsilon))
    share = new.prod(axis=1) / (old.prod(axis=1) + epsilon)
    visible: npt.NDArray[np.bool_] = (
        (new.min(axis=1) > _MIN_SIDE_PX) & (share > _MIN_AREA_LEFT) & (aspect < _MAX_ASPECT)
    )
    return visible
