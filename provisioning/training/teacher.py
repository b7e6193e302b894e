"""A finished detector that teaches: it looks at every training picture, and what it sees joins what people labelled.

It sees the picture as it is trained on, changed and cut, so its labels always fit. Boxes and scores are learnt, as in
pseudo-labelling (Lee 2013) of the pictures at hand; no weights of it are used.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from edged.core.bundle import Bundle
from edged.core.errors import UsageError
from edged.core.types import Detections, Floats, Ints, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from provisioning.evaluation.bundle_predictor import BundlePredictor
from provisioning.evaluation.matching import matched_objects, pairwise_iou

LEAST_SCORE = 0.15  # what it is less sure of is taken for background
_NMS_IOU = 0.6


class Teacher:
    """Labels batches; may be called from several threads.

    Args:
        bundle: the detector.
        names: class names of the data set; those that the detector does not know keep their labels only.

    Raises:
        UsageError: it knows none of the classes.
        BundleMismatch, DataError: the bundle holds no valid model.
    """

    def __init__(self, bundle: Bundle, names: Sequence[str]) -> None:
        known = bundle.manifest.classes
        shared = frozenset(index for index, name in enumerate(known) if name in names)
        if not shared:
            raise UsageError(
                f"the teacher {bundle.manifest.name} knows none of the classes {', '.join(names)}",
                remedy=f"it knows {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}",  # noqa: PLR2004
            )
        self._ids = np.array([names.index(name) if name in names else -1 for name in known], np.int32)
        limits = Thresholds(confidence=LEAST_SCORE, iou=_NMS_IOU, class_ids=shared)
        self._see = BundlePredictor(CpuDetector(bundle, thresholds=limits, threads=1))
        self._lock = threading.Lock()

    def __call__(self, pixels: Pixels, targets: Floats) -> Floats:
        """The targets of a batch with what the teacher sees.

        An object that both name has the teacher's box and is certain; one that only a label names stays as it is; one
        that only the teacher sees is as sure as its score.

        Args:
            pixels: (B, S, S, 3) uint8, BGR.
            targets: (N, 7) float32, as `Batch.targets`.

        Returns:
            (M, 7) float32, ordered by picture.
        """
        with self._lock:
            seen = [prediction.detections for prediction in self._see(list(pixels))]
        side = np.float32(pixels.shape[1])
        joined = [self._joined(place, targets[targets[:, 0] == place], each, side) for place, each in enumerate(seen)]
        return np.concatenate(joined).astype(np.float32)

    def _joined(self, place: int, labels: Floats, seen: Detections, side: np.float32) -> Floats:
        ids: Ints = self._ids[seen.class_id]
        corner, size = seen.xyxy[:, :2] / side, (seen.xyxy[:, 2:] - seen.xyxy[:, :2]) / side
        half = labels[:, 4:6] / 2
        named: Floats = np.concatenate((labels[:, 2:4] - half, labels[:, 2:4] + half), axis=1)
        both = matched_objects(
            pairwise_iou((seen.xyxy / side).astype(np.float32), named), ids, labels[:, 1].astype(np.int32)
        )[:, 0]
        sure = np.where(both >= 0, np.float32(1), seen.confidence)
        columns = (np.full((len(ids), 1), place), ids[:, None], corner + size / 2, size, sure[:, None])
        alone = np.ones(len(labels), bool)
        alone[both[both >= 0]] = False
        joined: Floats = np.concatenate((np.concatenate(columns, axis=1), labels[alone])).astype(np.float32)
        return joined
