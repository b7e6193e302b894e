"""Random detections and labels that resemble real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edged.core.types import Detections, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture's labels and what was found."""

    xyxy: Floats
    class_id: Ints
    found: Detections


def random_picture(rng: np.random.Generator, *, classes: int, ties: bool = False) -> Picture:
    """Some objects; most found more or less well, some twice, some with another class, some not there at all."""
    count = int(rng.integers(0, 9))
    corner, size = rng.uniform(0, 300, (count, 2)), rng.uniform(10, 150, (count, 2))
    xyxy = np.concatenate((corner, corner + size), axis=1).astype(np.float32)
    class_id = rng.integers(0, classes, count).astype(np.int32)
    repeated = np.repeat(np.arange(count), rng.integers(0, 3, count))
    jitter = rng.normal(0, 0.12, (len(repeated), 4)) * np.tile(size[repeated], 2)
    extra = rng.uniform(0, 300, (int(rng.integers(0, 5)), 2))
    wrong = np.concatenate((extra, extra + 40), axis=1)
    boxes = np.concatenate((xyxy[repeated] + jitter * rng.random((len(repeated), 1)), wrong)).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    labels = np.concatenate((class_id[repeated], rng.integers(0, classes, len(extra)))).astype(np.int32)
    swapped = rng.random(len(labels)) < 0.1
    labels[swapped] = rng.integers(0, classes, swapped.sum())
    score = rng.random(len(labels)).astype(np.float32)
    if ties:
        score = np.round(score, 1)
    order = np.argsort(-score, kind="stable")
    return Picture(xyxy, class_id, Detections(boxes[order], score[order], labels[order]))
