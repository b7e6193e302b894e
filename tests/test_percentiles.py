"""The percentiles in the statistics: numpy's numbers, without numpy, which would open files for them."""

from __future__ import annotations

import numpy as np
import pytest

from edged.health import PERCENTILES, _percentiles


@pytest.mark.parametrize("count", [1, 2, 3, 100, 512])
def test_percentiles_are_those_of_numpy(count: int) -> None:
    samples = np.random.default_rng(count).gamma(2.0, 10.0, count).tolist()
    expected = [round(float(each), 3) for each in np.percentile(samples, PERCENTILES)]
    assert list(_percentiles(samples).values()) == pytest.approx(expected, abs=0.0011)


def test_percentiles_of_nothing_are_null() -> None:
    assert set(_percentiles([]).values()) == {None}
