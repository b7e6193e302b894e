"""Measures how well anchors fit a data set's boxes, and finds better ones: k-means, then mutation, as in YOLOv5."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edged.core.types import Floats
from provisioning.data.cache import PictureCache

GOOD_RECALL = 0.98  # if a smaller share of boxes can be learned, new anchors are searched
_ROUNDS = 30
_MUTATIONS = 1000
_MIN_SIDE_PX = 2.0
_LOOKED_AT = 2000  # pictures used; more change the anchors little and take minutes
Doubles = npt.NDArray[np.float64]


def box_sizes(pictures: PictureCache) -> Doubles:
    """Width and height of the boxes of up to _LOOKED_AT pictures, (N, 2) float64, network pixels.

    Boxes with a side below _MIN_SIDE_PX are left out.

    Raises:
        DataError: a picture cannot be read.
    """
    step = -(-len(pictures) // _LOOKED_AT)
    corners = [pictures[index].xyxy for index in range(0, len(pictures), max(1, step))]
    boxes = np.concatenate([np.empty((0, 4), np.float32), *corners]).astype(np.float64)
    sizes: Doubles = boxes[:, 2:] - boxes[:, :2]
    return sizes[(sizes >= _MIN_SIDE_PX).all(axis=1)]


def recall(sizes: Doubles, anchors: Doubles, *, ratio: float) -> float:
    """Share (0..1) of boxes (N, 2) that some anchor (A, 2) can learn: both sides differ by a factor below `ratio`."""
    if not len(sizes):
        return 1.0
    return float((_closeness(sizes, anchors).max(axis=1) > 1 / ratio).mean())


def fit_anchors(sizes: Doubles, *, count: int, ratio: float, seed: int) -> Doubles:
    """Find anchors for box sizes; (count, 2) by ascending area.

    Args:
        sizes: (N, 2) width and height, pixels; N >= count.
        count: number of anchors.
        ratio: an anchor learns a box if both sides differ by a factor below it, > 1.
        seed: of k-means and of the mutations.

    Raises:
        ValueError: there are fewer boxes than anchors.
    """
    if len(sizes) < count:
        raise ValueError(f"{count} anchors need at least as many boxes, got {len(sizes)}")
    rng = np.random.default_rng(seed)
    best = _k_means(sizes, count, rng)
    score = _fitness(sizes, best, ratio)
    for _ in range(_MUTATIONS):
        change = np.where(rng.random(best.shape) < 0.9, 1 + rng.normal(0, 0.1, best.shape), 1.0)  # noqa: PLR2004
        mutant = np.maximum(best * change.clip(0.3, 3.0), _MIN_SIDE_PX)
        mutant_score = _fitness(sizes, mutant, ratio)
        if mutant_score > score:
            best, score = mutant, mutant_score
    ordered: Doubles = best[np.argsort(best.prod(axis=1))]
    return ordered


def by_head(anchors: Doubles, heads: int) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Share anchors (A, 2), by ascending area, among the heads, smallest stride first; rounded to 0.1 pixels."""
    table: Floats = anchors.reshape(heads, -1, 2).round(1).astype(np.float32)
    return tuple(tuple((float(w), float(h)) for w, h in head) for head in table)


def _closeness(sizes: Doubles, anchors: Doubles) -> Doubles:
    """(N, A): 1 for equal sides, otherwise the reciprocal of the larger ratio of sides."""
    ratios = sizes[:, None] / anchors[None]
    closeness: Doubles = np.minimum(ratios, 1 / ratios).min(axis=2)
    return closeness


def _fitness(sizes: Doubles, anchors: Doubles, ratio: float) -> float:
    best = _closeness(sizes, anchors).max(axis=1)
    return float((best * (best > 1 / ratio)).mean())


def _k_means(sizes: Doubles, count: int, rng: np.random.Generator) -> Doubles:
    """Lloyd's algorithm on sizes scaled to unit deviation."""
    deviation = sizes.std(axis=0)
    scaled = sizes / np.where(deviation > 0, deviation, 1.0)
    centres = scaled[rng.choice(len(scaled), count, replace=False)]
    for _ in range(_ROUNDS):
        nearest = np.square(scaled[:, None] - centres[None]).sum(axis=2).argmin(axis=1)
        means = [
            scaled[nearest == place].mean(axis=0) if (nearest == place).any() else centres[place]
            for place in range(count)
        ]
        centres = np.stack(means)
    found: Doubles = centres * np.where(deviation > 0, deviation, 1.0)
    return np.maximum(found, _MIN_SIDE_PX)
