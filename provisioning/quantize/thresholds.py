"""Chooses the largest magnitude that INT8 represents, from the histogram of a tensor's magnitudes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")
BINS = 2048
PERCENTILE = 99.9999  # 99.99 already costs accuracy at 640 (provisioning/README.md)
_LEVELS = 128  # number of magnitudes of symmetric INT8
_STEP = 16  # bins between two candidates of the entropy method

Histogram = npt.NDArray[np.int64]


def percentile_threshold(histogram: Histogram, limit: float, *, percentile: float = PERCENTILE) -> float:
    """The magnitude below which `percentile` per cent of all values lie, > 0, at most `limit`.

    Args:
        histogram: (BINS,) int64, counts of magnitudes over 0..limit.
        limit: the largest magnitude seen.
        percentile: 0..100.
    """
    cumulated = np.cumsum(histogram)
    index = int(np.searchsorted(cumulated, cumulated[-1] * percentile / 100))
    return limit * min(index + 1, len(histogram)) / len(histogram)


def entropy_threshold(histogram: Histogram, limit: float) -> float:
    """The clipping magnitude for which the INT8 distribution differs least from the real one.

    Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017. For each candidate, P is the histogram with the tail
    added to the last bin; Q is the clipped histogram, quantised to 128 levels and spread over the bins that were not
    empty. The candidate with the smallest Kullback-Leibler divergence of P from Q wins.

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
    # A tail clipped onto an empty bin has no mass in Q: half a count avoids an infinite divergence.
    q = np.maximum(q, 0.5 / max(histogram.sum(), 1))
    return float(np.sum(p[present] * np.log(p[present] / q[present])))
