"""Measures how far two detectors agree on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edged.core.types import Detections
from provisioning.evaluation.matching import matched_objects, pairwise_iou


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a candidate's boxes with the reference's: pairs of one class, IoU 0.5 or more.

    Attributes:
        frames: number of pictures.
        reference_boxes: boxes of the reference.
        candidate_boxes: boxes of the candidate.
        matched: pairs.
        mean_iou: of the pairs; 0 without pairs.
        mean_score_difference: mean absolute difference of the pairs' scores; 0 without pairs.
        max_score_difference: the largest absolute difference; 0 without pairs.
    """

    frames: int
    reference_boxes: int
    candidate_boxes: int
    matched: int
    mean_iou: float
    mean_score_difference: float
    max_score_difference: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall with the reference as truth; 1 if neither found anything."""
        total = self.reference_boxes + self.candidate_boxes
        return 2 * self.matched / total if total else 1.0


def agreement(reference: Sequence[Detections], candidate: Sequence[Detections]) -> Agreement:
    """Compare picture by picture; one `Detections` each, in the same order.

    Raises:
        ValueError: the two differ in length.
    """
    overlaps: list[float] = []
    differences: list[float] = []
    for expected, found in zip(reference, candidate, strict=True):
        iou = pairwise_iou(found.xyxy, expected.xyxy)  # (candidates, references)
        partners = matched_objects(iou, found.class_id, expected.class_id)[:, 0]  # at IoU 0.5
        for place in np.flatnonzero(partners >= 0):
            partner = partners[place]
            overlaps.append(float(iou[place, partner]))
            differences.append(abs(float(found.confidence[place]) - float(expected.confidence[partner])))
    return Agreement(
        frames=len(reference),
        reference_boxes=sum(len(one) for one in reference),
        candidate_boxes=sum(len(one) for one in candidate),
        matched=len(overlaps),
        mean_iou=float(np.mean(overlaps)) if overlaps else 0.0,
        mean_score_difference=float(np.mean(differences)) if differences else 0.0,
        max_score_difference=max(differences, default=0.0),
    )
