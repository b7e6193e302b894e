"""From the distribution of a tensor's magnitudes to the largest magnitude that INT8 shall represent."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")
BINS = 2048
PERCENTILE = 99.9999  # 99.99 already costs accuracy at 640, see README.md
_LEVELS = 128  # magnitudes of a symmetric INT8
_STEP = 16  # bins between the candidates that entropy compares

Histogram = npt.NDArray[np.int64]


def percentile_threshold(histogram: Histogram, limit: float, *, percentile: float = PERCENTILE) -> float:
    """The magnitude below which `percentile` per cent of all values lie.

    Args:
        histogram: (BINS,) int64, counts of magnitudes over 0..limit.
        limit: the largest magnitude seen.
        percentile: 0..100.
    """
    cumulated = np.cumsum(histogram)
    index = int(np.searchsorted(cumulated, cumulated[-1] * percentile / 100))
    return limit * min(index + 1, len(histogram)) / len(histogram)


def entropy_threshold(histogram: Histogram, limit: float) -> float:
    """The clipping magnitude whose INT8 distribution diverges least from the real one.

    Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017: for each candidate the tail is clipped onto its last
    bin (P), the rest is quantised to 128 levels and spread over the bins that were not empty (Q); the smallest
    Kullback-Leibler divergence of P from Q wins.

    Args:
        histogram: (BINS,) int64, counts of magnitudes over 0..limit.
        limit: the largest magnitude seen.
    """
    candidates = range(_LEVELS, len(histogram) + 1, _STEP)
    best = min(candidates, key=lambda bins: _divergence(histogram, bins))
    return limit * best / len(histogram)


def _divergence(histogram: Histogram, bins: int) -> float:
    kept = histogram[:bins].astype(np.float64)
    real = kept.copy()
    real[-1] += histogram[bins:].sum()
    level = np.arange(bins) * _LEVELS // bins  # of each bin
    filled = kept > 0
    mass = np.bincount(level, weights=kept, minlength=_LEVELS)
    spread = np.bincount(level, weights=filled, minlength=_LEVELS)
    quantised = np.where(filled, mass[level] / np.maximum(spread[level], 1), 0.0)
    if not quantised.any():
        return np.inf
    p, q = real / real.sum(), quantised / quantised.sum()
    present = p > 0
    # A clipped tail on an empty bin has no counterpart in Q: as small a one as counts can be.
    q = np.maximum(q, 0.5 / max(histogram.sum(), 1))
    return float(np.sum(p[present] * np.log(p[present] / q[present])))
