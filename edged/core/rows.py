"""Checks the rows that a model of kind `list` gives at its self-test, on whatever it runs."""

from __future__ import annotations

import numpy as np

from edged.core.decode import ROW_VALUES
from edged.core.types import Floats


def rows_problem(rows: Floats, classes: int) -> str:
    """What is wrong with the rows of a self-test, for a message; empty if nothing is.

    Args:
        rows: (N, 6) float32, as `ListDecode` says.
        classes: number of the model's classes.
    """
    if not np.isfinite(rows).all():
        return "NaN or infinity"
    score, class_id = rows[:, ROW_VALUES - 2], rows[:, ROW_VALUES - 1]
    if score.min() < 0 or score.max() > 1:
        return "scores outside 0..1"
    # Exports that end in NMS fill up with rows whose score is 0; whatever else these say is unused.
    used = class_id[score > 0]
    if ((used < 0) | (used >= classes) | (used != np.floor(used))).any():
        return f"class ids that are no whole numbers in 0..{classes - 1}"
    return ""
