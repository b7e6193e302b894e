"""Thresholds against a plain-loop reading of the published algorithm and against known distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from provisioning.quantize.thresholds import BINS, Histogram, entropy_threshold, percentile_threshold


def histogram_of(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], limit: float) -> Histogram:
    return np.histogram(np.abs(values), bins=BINS, range=(0, limit))[0].astype(np.int64)


def kl_by_loops(histogram: Histogram, bins: int) -> float:
    """The divergence of one candidate, bin by bin."""
    p = [float(count) for count in histogram[:bins]]
    p[-1] += float(histogram[bins:].sum())
    q = [0.0] * bins
    for level in range(128):
        members = [b for b in range(bins) if b * 128 // bins == level]
        filled = [b for b in members if histogram[b] > 0]
        for b in filled:
            q[b] = sum(float(histogram[m]) for m in members) / len(filled)
    total_p, total_q = sum(p), sum(q)
    floor = 0.5 / float(histogram.sum())
    terms = (
        x / total_p * math.log((x / total_p) / max(y / total_q, floor)) for x, y in zip(p, q, strict=True) if x > 0
    )
    return sum(terms)


@pytest.mark.parametrize("seed", [0, 1])
def test_entropy_threshold_is_the_best_by_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_cauchy(20_000) if seed else rng.standard_normal(20_000)
    limit = float(np.abs(values).max())
    histogram = histogram_of(values, limit)
    candidates = [128, 144, 208, 400, 800, 1600, 2048]
    chosen = entropy_threshold(histogram, limit)
    bins = round(chosen / limit * BINS)
    best = kl_by_loops(histogram, bins)
    assert all(best <= kl_by_loops(histogram, other) + 1e-9 for other in candidates)


def test_entropy_clips_a_far_outlier_and_keeps_a_flat_distribution() -> None:
    rng = np.random.default_rng(2)
    with_outlier = np.append(rng.standard_normal(100_000), 60.0)
    assert 2 < entropy_threshold(histogram_of(with_outlier, 60.0), 60.0) < 12
    flat = rng.uniform(-1, 1, 400_000)
    assert entropy_threshold(histogram_of(flat, 1.0), 1.0) > 0.95


@pytest.mark.parametrize(
    ("percentile", "expected"),
    [pytest.param(50.0, 0.5, id="half"), pytest.param(99.0, 0.99, id="99"), pytest.param(100.0, 1.0, id="all")],
)
def test_percentile_threshold_of_a_uniform_distribution(percentile: float, expected: float) -> None:
    histogram = np.full(BINS, 100, np.int64)
    assert percentile_threshold(histogram, 1.0, percentile=percentile) == pytest.approx(expected, abs=1.1 / BINS)


def test_percentile_threshold_ignores_what_is_rarer_than_it() -> None:
    histogram = np.zeros(BINS, np.int64)
    histogram[10], histogram[-1] = 10**9, 1
    assert percentile_threshold(histogram, 1.0) == pytest.approx(11 / BINS)
