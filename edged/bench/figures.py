"""Figures of repeated measurements: percentiles within one, medians over several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Percentiles:
        """Percentiles of at least one sample, milliseconds."""
        p50, p95, p99 = np.percentile(np.asarray(samples, np.float64), (50, 95, 99)).tolist()
        return cls(p50, p95, p99)


def median(values: Sequence[float]) -> float:
    """The median of at least one value."""
    return float(np.median(np.asarray(values, np.float64)))


def median_ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Median of the ratios within each round: noise that lasts for a whole round cancels out."""
    return median([mine / other for mine, other in zip(these, those, strict=True)])
