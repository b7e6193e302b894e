"""Picks the detections from the rows of a `ListDecode`: threshold, wanted classes, the best first."""

from __future__ import annotations

import numpy as np

from edged.core.decode import ROW_VALUES
from edged.core.types import Floats
from edged.cpu.decode import Candidates, Flags

_BOX, _SCORE, _CLASS = slice(0, 4), ROW_VALUES - 2, ROW_VALUES - 1  # columns of a row


def select_rows(
    rows: Floats, *, threshold: float, classes: int, wanted: Flags | None = None, max_detections: int
) -> Candidates:
    """The rows that count and whose score is above `threshold`, by falling score; equal scores in the rows' order.

    Args:
        rows: (N, 6) float32, network pixels, as `ListDecode` says.
        threshold: 0..1; a score must exceed it. A NaN never does.
        classes: number of the model's classes.
        wanted: (classes,) bool, True for classes to report; None for all.
        max_detections: most boxes that are kept, the best.

    Returns:
        At most `max_detections` boxes.
    """
    passed = rows[rows[:, _SCORE] > np.float32(threshold)]
    passed = passed[_counts(passed, classes)]
    class_id = passed[:, _CLASS].astype(np.int32)
    if wanted is not None:
        admitted = wanted[class_id]
        passed, class_id = passed[admitted], class_id[admitted]
    best = (-passed[:, _SCORE]).argsort(kind="stable")[:max_detections]
    return Candidates(passed[best, _BOX], passed[best, _SCORE], class_id[best])


def _counts(rows: Floats, classes: int) -> Flags:
    """(N,) bool: whether a row is finite, does not end before it begins, and names one of the model's classes."""
    class_id = rows[:, _CLASS]
    counts: Flags = np.isfinite(rows).all(axis=-1) & (rows[:, 0] <= rows[:, 2]) & (rows[:, 1] <= rows[:, 3])
    counts &= (class_id >= 0) & (class_id < classes) & (class_id == np.floor(class_id))
    return counts
