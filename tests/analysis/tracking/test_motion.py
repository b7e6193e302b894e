"""The motion filter against a textbook Kalman filter with matrices, and the rules that seconds give it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.analysis.tracking.motion import Motion, MotionModel, cxcywh

MODEL = MotionModel()


class Textbook:
    """One coordinate with position and velocity, in matrices."""

    def __init__(self, measured: float, height: float) -> None:
        self.state = np.array([measured, 0.0])
        self.covariance = np.diag([(MODEL.measured * height) ** 2, (MODEL.speed * height) ** 2])

    def predict(self, dt_s: float, height: float) -> None:
        fade = np.exp(-dt_s / MODEL.keeps_s)
        move = np.array([[1.0, MODEL.keeps_s * (1 - fade)], [0.0, fade]])
        gained = (MODEL.restless * height) ** 2 * np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])
        self.state = move @ self.state
        self.covariance = move @ self.covariance @ move.T + gained

    def correct(self, measured: float, height: float) -> None:
        see = np.array([[1.0, 0.0]])
        gain = self.covariance @ see.T / (see @ self.covariance @ see.T + (MODEL.measured * height) ** 2)
        self.state = self.state + (gain * (measured - self.state[0])).ravel()
        self.covariance = (np.eye(2) - gain @ see) @ self.covariance


def test_filter_is_the_textbooks() -> None:
    rng = np.random.default_rng(7)
    boxes = np.array([[100.0, 200.0, 130.0, 280.0], [500.0, 90.0, 160.0, 240.0]])
    motion = Motion(MODEL)
    motion.add(boxes)
    books = [[Textbook(value, box[3]) for value in box] for box in boxes]
    for _ in range(20):
        dt_s = float(rng.uniform(0.05, 0.6))
        heights = motion.place[:, 3].copy()
        motion.predict(dt_s)
        boxes = boxes + rng.normal(0, 4, boxes.shape)
        row = int(rng.integers(2))
        for index, of_box in enumerate(books):
            for book in of_box:
                book.predict(dt_s, heights[index])
        motion.correct(np.array([row]), boxes[row : row + 1])
        for book, value in zip(books[row], boxes[row], strict=True):
            book.correct(value, boxes[row, 3])
        np.testing.assert_allclose(motion.place, [[book.state[0] for book in of_box] for of_box in books], rtol=1e-9)
        np.testing.assert_allclose(motion.velocity, [[book.state[1] for book in of_box] for of_box in books], atol=1e-9)


@given(st.floats(0.01, 3.0), st.floats(0.01, 0.99))
def test_two_predictions_of_half_the_time_are_one_of_the_whole(whole_s: float, share: float) -> None:
    once, twice = Motion(MODEL), Motion(MODEL)
    for motion in (once, twice):
        motion.add(np.array([[100.0, 100.0, 40.0, 80.0]]))
        motion.predict(0.1)
        motion.correct(np.array([0]), np.array([[106.0, 99.0, 41.0, 80.0]]))
    once.predict(whole_s)
    twice.predict(whole_s * share)
    twice.predict(whole_s * (1 - share))
    np.testing.assert_allclose(once.place, twice.place, rtol=1e-9)
    np.testing.assert_allclose(once.velocity, twice.velocity, rtol=1e-9)


def test_unseen_object_comes_to_rest() -> None:
    motion = Motion(MODEL)
    motion.add(np.array([[0.0, 0.0, 40.0, 80.0]]))
    for step in range(1, 30):
        motion.predict(0.1)
        motion.correct(np.array([0]), np.array([[8.0 * step, 0.0, 40.0, 80.0]]))
    motion.predict(3600.0)
    reach = motion.place[0, 0] - 8.0 * 29
    assert 0 < reach < 80 * MODEL.keeps_s + 40, "80 pixels a second, kept for about keeps_s"
    assert abs(motion.velocity).max() < 1e-6


@pytest.mark.parametrize("dt_s", [0.0, -1.0])
def test_no_time_changes_nothing(dt_s: float) -> None:
    motion = Motion(MODEL)
    motion.add(np.array([[10.0, 10.0, 40.0, 80.0]]))
    motion.predict(dt_s)
    assert motion.place.tolist() == [[10.0, 10.0, 40.0, 80.0]]


def test_corners_and_back_with_sides_of_at_least_a_pixel() -> None:
    motion = Motion(MODEL)
    motion.add(cxcywh(np.array([[10.0, 20.0, 50.0, 100.0], [5.0, 5.0, 5.0, 5.0]])))
    assert motion.xyxy().tolist() == [[10.0, 20.0, 50.0, 100.0], [4.5, 4.5, 5.5, 5.5]]
