"""Overlap against loops in plain Python, the assignment against trying every one."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edged.analysis.tracking.association import assign, overlap

Box = tuple[float, float, float, float]


def plain_overlap(a: Box, b: Box, buffer: float) -> float:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = (
        (x1 - buffer * (x2 - x1), y1 - buffer * (y2 - y1), x2 + buffer * (x2 - x1), y2 + buffer * (y2 - y1))
        for x1, y1, x2, y2 in (a, b)
    )
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    return shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)


@pytest.mark.parametrize("buffer", [0.0, 0.3, 0.6])
def test_overlap_is_that_of_loops(buffer: float) -> None:
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 100, (12, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 60, (12, 2))], axis=1)
    found = overlap(boxes[:5], boxes[5:], buffer=buffer)
    expected = [[plain_overlap(tuple(a), tuple(b), buffer) for b in boxes[5:]] for a in boxes[:5]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_overlap_of_none() -> None:
    assert overlap(np.empty((0, 4)), np.array([[0.0, 0.0, 1.0, 1.0]])).shape == (0, 1)


def best_sum(likeness: np.ndarray, least: float) -> float:
    if likeness.shape[0] > likeness.shape[1]:
        likeness = likeness.T
    usable = np.where(likeness >= least, likeness, 0.0)
    rows = range(usable.shape[0])
    return max(float(sum(usable[row, column] for row, column in zip(rows, columns, strict=True)))
               for columns in permutations(range(usable.shape[1]), usable.shape[0]))  # fmt: skip


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.floats(0, 1))
    ),
    st.sampled_from([0.1, 0.3, 0.5]),
)
def test_assignment_is_the_best_of_all(likeness: np.ndarray, least: float) -> None:
    rows, columns = assign(likeness, least=least)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    assert (likeness[rows, columns] >= least).all()
    assert likeness[rows, columns].sum() == pytest.approx(best_sum(likeness, least), abs=1e-9)


def test_assignment_without_competition() -> None:
    rows, columns = assign(np.array([[0.0, 0.9, 0.0], [0.2, 0.0, 0.05]]), least=0.1)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
