"""Runs the suppression kernels, and the CPU's steps that they are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edged.core.letterbox import Letterbox
from edged.core.types import Detections, Thresholds
from edged.cpu.nms import nms
from edged.gpu.layout import FOUND, Header, Results
from edged.gpu.stages import NmsMemory, nms_launches
from plugins.yolo_layer.kernel import DecodeOutputs
from plugins.yolo_layer.launch import Launch
from tests.gpu.ground import Ground

Array = np.ndarray[Any, Any]
NETWORK_WH = (640, 384)
NUM_CLASSES = 5


@dataclass(frozen=True)
class Candidates:
    """One image's, as the decode leaves them."""

    xyxy: Array
    score: Array
    class_id: Array


def random_candidates(count: int, *, seed: int, classes: int = NUM_CLASSES) -> Candidates:
    """Boxes in heaps, so that many overlap; scores from few values, so that many tie."""
    rng = np.random.default_rng(seed)
    centre = rng.integers(1, 6, (count, 2)) * 60 + rng.normal(0, 6, (count, 2))
    half = rng.uniform(5, 40, (count, 2))
    xyxy = np.concatenate((centre - half, centre + half), axis=1).astype(np.float32)
    score = (rng.integers(1, 50, count) / 50).astype(np.float32)
    return Candidates(xyxy, score, rng.integers(0, classes, count).astype(np.int32))


def run_nms(
    images: Sequence[Candidates],
    frames_wh: Sequence[tuple[int, int]],
    limits: Thresholds,
    *,
    on: Ground,
    capacity: int = 300,
    seed: int = 0,
    classes: int = NUM_CLASSES,
) -> list[Detections]:
    """Twice, with the admitted listed first and without, which must not differ."""
    batch = Batch(images, frames_wh, limits, on, capacity, classes)
    got, other = (batch.run(listing=listing, seed=seed) for listing in (False, True))
    for one, same in zip(got, other, strict=True):
        require_equal(one, same)
    return got


@dataclass(frozen=True)
class Batch:
    """What one run of the suppression gets."""

    images: Sequence[Candidates]
    frames_wh: Sequence[tuple[int, int]]
    limits: Thresholds
    on: Ground
    capacity: int = 300
    classes: int = NUM_CLASSES

    def run(self, *, listing: bool, seed: int = 0, watch: Callable[[Launch], object] = str) -> list[Detections]:
        """`watch` is called after every launch."""
        batch, cells, on = len(self.images), max(1, *(len(image.score) for image in self.images)), self.on
        header, results = Header(self.classes, batch), Results(batch, self.capacity)
        memory = NmsMemory(batch, cells if listing else 0)
        block = on.array(np.zeros(header.nbytes, np.uint8))
        workspace = on.array(np.full(memory.nbytes, 0x5A, np.uint8))
        workspace[: memory.ranked_bytes] = 0
        out = on.array(np.full(results.nbytes(batch, results.capacity), 0x5A, np.uint8))
        boxes = [Letterbox.fit(wh, NETWORK_WH) for wh in self.frames_wh]
        header.write(block, self.limits, boxes, [0] * batch)
        candidates = self._candidates(cells)
        for launch in nms_launches(
            candidates=DecodeOutputs(*(array.ctypes.data for array in candidates)),
            cells=cells,
            header=(header, block.ctypes.data),
            workspace=(memory, workspace.ctypes.data),
            results=(results, out.ctypes.data),
            batch=batch,
        ):
            on.run(launch, seed=seed)
            watch(launch)
        counts = out[: batch * 4].view(np.int32)
        rows = results.rows(self.limits.max_detections)
        found = out[results.found : results.nbytes(batch, rows)].view(FOUND).reshape(batch, rows)
        return [
            Detections(row["xyxy"][:kept].copy(), row["confidence"][:kept].copy(), row["class_id"][:kept].copy())
            for row, kept in zip(found, counts, strict=True)
        ]

    def _candidates(self, cells: int) -> tuple[Array, Array, Array, Array]:
        batch = len(self.images)
        count = self.on.array(np.array([len(image.score) for image in self.images], np.int32))
        xyxy = self.on.array(np.full((batch, cells, 4), np.nan, np.float32))
        score = self.on.array(np.full((batch, cells), 99, np.float32))
        class_id = self.on.array(np.zeros((batch, cells), np.int32))
        for row, image in enumerate(self.images):
            xyxy[row, : count[row]], score[row, : count[row]] = image.xyxy, image.score
            class_id[row, : count[row]] = image.class_id
        return count, xyxy, score, class_id


def on_cpu(image: Candidates, frame_wh: tuple[int, int], limits: Thresholds) -> Detections:
    """The CPU detector's steps behind the decode."""
    with np.errstate(all="ignore"):
        passes = (image.score > np.float32(limits.confidence)) & np.isfinite(image.xyxy).all(axis=1)
        if limits.class_ids:
            passes &= np.isin(image.class_id, list(limits.class_ids))
        xyxy, score, class_id = image.xyxy[passes], image.score[passes], image.class_id[passes]
        kept = nms(xyxy, score, class_id, iou_threshold=limits.iou, max_detections=limits.max_detections)
        return Detections(Letterbox.fit(frame_wh, NETWORK_WH).to_frame(xyxy[kept]), score[kept], class_id[kept])


def require_equal(got: Detections, wanted: Detections) -> None:
    np.testing.assert_array_equal(got.confidence, wanted.confidence)
    np.testing.assert_array_equal(got.class_id, wanted.class_id)
    np.testing.assert_array_equal(got.xyxy, wanted.xyxy)
