"""The tests' own bilinear scaling is OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bilinear import OPENCV_IS_THE_REFERENCE, scaled

SIDES = st.integers(1, 500)
on_x86 = pytest.mark.skipif(not OPENCV_IS_THE_REFERENCE, reason="OpenCV rounds in another way on this architecture")


def noise(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)


@on_x86
@settings(deadline=None)
@given(source=st.tuples(SIDES, SIDES), target=st.tuples(SIDES, SIDES))
def test_scaled_equals_opencv(source: tuple[int, int], target: tuple[int, int]) -> None:
    image = noise(*source)
    np.testing.assert_array_equal(scaled(image, target), cv2.resize(image, target))


@on_x86
@settings(deadline=None, max_examples=20)
@given(target=st.tuples(SIDES, SIDES))
def test_halved_equals_opencv(target: tuple[int, int]) -> None:
    image = noise(2 * target[0], 2 * target[1])
    np.testing.assert_array_equal(scaled(image, target), cv2.resize(image, target))
