"""Decodes YOLOv5's sigmoided heads to candidate boxes, only where the score can exceed the threshold.

Formulae (YOLOv5 release 5 to 7, as published with its architecture summary), for a cell (gx, gy) of a head with
stride t and an anchor (aw, ah), s the sigmoided channels in 0..1:
    cx = (2 sx - 0.5 + gx) t        w = (2 sw)^2 aw
    cy = (2 sy - 0.5 + gy) t        h = (2 sh)^2 ah
    score = objectness x best class probability
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edged.core.decode import GridDecode
from edged.core.types import Floats, Ints, require_array

Flags = npt.NDArray[np.bool_]

_BOX, _OBJECTNESS, _CLASSES = slice(0, 4), 4, 5  # channels of one anchor
_PLACE = 5  # column, row, stride, anchor width, anchor height


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes before NMS, in order of head, anchor, row, column.

    Attributes:
        xyxy: (N, 4) float32, network pixels, finite.
        score: (N,) float32, objectness times best class probability.
        class_id: (N,) int32.
    """

    xyxy: Floats
    score: Floats
    class_id: Ints

    def __post_init__(self) -> None:
        require_array("xyxy", self.xyxy, np.float32, (None, 4))
        require_array("score", self.score, np.float32, (len(self.xyxy),))
        require_array("class_id", self.class_id, np.int32, (len(self.xyxy),))

    def select(self, index: np.ndarray[tuple[int, ...], np.dtype[np.bool_ | np.intp]]) -> Candidates:
        """The candidates at a boolean mask (N,) or an index array (K,)."""
        return Candidates(self.xyxy[index], self.score[index], self.class_id[index])


@lru_cache(maxsize=8)
def class_flags(class_ids: frozenset[int], classes: int) -> Flags:
    """(classes,) bool: whether each class id is in `class_ids`."""
    return np.isin(np.arange(classes), list(class_ids))


class Decoder:
    """Decodes the heads of one model.

    Args:
        grid: its anchors and strides.
    """

    def __init__(self, grid: GridDecode) -> None:
        self._heads = [
            _Head(np.asarray(sizes, np.float32), float(t)) for sizes, t in zip(grid.anchors, grid.strides, strict=True)
        ]

    def __call__(self, heads: Sequence[Floats], *, threshold: float, wanted: Flags | None = None) -> Candidates:
        """All boxes whose score is above `threshold`.

        Args:
            heads: per stride, (anchors * (5 + classes), H, W) float32, sigmoided.
            threshold: 0..1; a score must exceed it. A NaN never does.
            wanted: (classes,) bool, True for classes to report; None for all.

        Returns:
            The candidates, in order of head, anchor, row, column.
        """
        limit = np.float32(threshold)
        picked: list[Floats] = []
        places: list[Floats] = []
        for head, about in zip(heads, self._heads, strict=True):
            cells = head.reshape(about.anchors, -1, head.shape[1] * head.shape[2])  # (A, 5 + C, H * W)
            # A class probability is at most 1, so a cell whose objectness does not pass cannot pass as a product.
            anchor, cell = (cells[:, _OBJECTNESS] > limit).nonzero()
            if len(cell):
                picked.append(cells[anchor, :, cell])  # (K, 5 + C)
                places.append(about.places(head.shape[1:])[anchor, cell])
        if not picked:
            return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))
        return _decoded(np.concatenate(picked), np.concatenate(places), limit, wanted)


class _Head:
    """The constants of each cell of one head: place, stride and anchor."""

    def __init__(self, anchor_wh: Floats, stride: float) -> None:
        self.anchors = len(anchor_wh)
        self._anchor_wh = anchor_wh
        self._stride = stride
        self._places = np.empty((0, 0, _PLACE), np.float32)
        self._shape: tuple[int, ...] = ()

    def places(self, shape: tuple[int, ...]) -> Floats:
        """(A, H * W, 5) float32: column, row, stride, anchor width and height of each cell of a head of (H, W)."""
        if self._shape != shape:
            rows, columns = shape
            places = np.empty((self.anchors, rows, columns, _PLACE), np.float32)
            places[..., 0], places[..., 1] = np.arange(columns), np.arange(rows)[:, None]
            places[..., 2], places[..., 3:] = self._stride, self._anchor_wh[:, None, None]
            self._places = places.reshape(self.anchors, -1, _PLACE)
            self._shape = shape
        return self._places


def _decoded(picked: Floats, places: Floats, threshold: np.float32, wanted: Flags | None) -> Candidates:
    """Decode (K, 5 + C) channels at (K, 5) places, in few numpy calls: on 100 cells calls cost most."""
    classes = picked[:, _CLASSES:]
    class_id = classes.argmax(axis=1)
    score = classes.max(axis=1) * picked[:, _OBJECTNESS]
    doubled = picked[:, _BOX] * np.float32(2)
    centre, half = doubled[:, :2], doubled[:, 2:]
    centre -= np.float32(0.5)
    centre += places[:, :2]
    centre *= places[:, 2:3]
    half *= half
    half *= places[:, 3:]
    half *= np.float32(0.5)
    xyxy = np.empty_like(doubled)
    np.subtract(centre, half, out=xyxy[:, :2])
    np.add(centre, half, out=xyxy[:, 2:])
    passed = score > threshold
    passed &= np.isfinite(xyxy).all(axis=1)
    if wanted is not None:
        passed &= wanted[class_id]
    return Candidates(xyxy[passed], score[passed], class_id[passed].astype(np.int32))
