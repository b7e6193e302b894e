"""Keeps decoded pictures, scaled to the training size, in memory up to a limit."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import numpy as np

from edged.core.boxes import box_cxcywh_to_xyxy
from edged.core.letterbox import Letterbox
from edged.core.types import Pixels
from provisioning.data.augment import Labelled
from provisioning.data.pictures import read_picture
from provisioning.data.samples import Sample


class PictureCache:
    """The samples of a split as pictures with boxes in pixels. Several threads may use it.

    Args:
        samples: of the split.
        side: pictures are scaled so that their longer side has this many pixels (aspect kept).
        limit_bytes: memory for decoded pictures; others are decoded each time.
    """

    def __init__(self, samples: Sequence[Sample], *, side: int, limit_bytes: int) -> None:
        self._samples = samples
        self._side = side
        self._left_bytes = limit_bytes
        self._kept: dict[int, Pixels] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Labelled:
        """The picture and its boxes, scaled.

        Raises:
            DataError: the picture cannot be read.
        """
        pixels = self._kept.get(index)
        if pixels is None:
            pixels = scale_to_fit(read_picture(self._samples[index].picture), self._side)
            self._keep(index, pixels)
        labels = self._samples[index].labels
        size = np.array((pixels.shape[1], pixels.shape[0]) * 2, np.float32)
        xyxy = box_cxcywh_to_xyxy(labels.cxcywh * size)
        return Labelled(pixels, np.clip(xyxy, np.float32(0), size), labels.class_id)

    def _keep(self, index: int, pixels: Pixels) -> None:
        with self._lock:
            if index not in self._kept and pixels.nbytes <= self._left_bytes:
                self._left_bytes -= pixels.nbytes
                self._kept[index] = pixels


def scale_to_fit(pixels: Pixels, side: int) -> Pixels:
    """Scale (H, W, 3) uint8 so that the longer side has `side` pixels; bilinear, as the daemon's letterbox does."""
    source_wh = (pixels.shape[1], pixels.shape[0])
    resized_wh = Letterbox.fit(source_wh, (side, side)).resized_wh
    if resized_wh == source_wh:
        return pixels
    return np.asarray(cv2.resize(pixels, resized_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
