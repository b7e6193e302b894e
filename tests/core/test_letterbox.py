"""The letterbox keeps the integers that it used, so boxes come back to the pixel that they came from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.core.letterbox import Letterbox

sides = st.integers(1, 5000)
network_sides = st.integers(1, 40).map(lambda cells: 32 * cells)


@pytest.mark.parametrize(
    ("source_wh", "network_wh", "resized_wh", "pads"),
    [
        # Worked by hand from the published rule: scale by the smaller ratio, halves rounded after -0.1.
        pytest.param((640, 640), (640, 640), (640, 640), (0, 0), id="same"),
        pytest.param((810, 1080), (640, 640), (480, 640), (80, 0), id="tall"),
        pytest.param((1280, 720), (640, 640), (640, 360), (0, 140), id="wide"),
        pytest.param((1281, 720), (640, 640), (640, 360), (0, 140), id="odd-width"),
        pytest.param((640, 427), (640, 640), (640, 427), (0, 106), id="odd-padding-rounds-down-first"),
        pytest.param((100, 50), (640, 384), (640, 320), (0, 32), id="enlarged-not-square"),
        pytest.param((1, 5000), (320, 320), (1, 320), (159, 0), id="a-line-keeps-a-pixel"),
    ],
)
def test_fit(
    source_wh: tuple[int, int], network_wh: tuple[int, int], resized_wh: tuple[int, int], pads: tuple[int, int]
) -> None:
    box = Letterbox.fit(source_wh, network_wh)
    assert (box.resized_wh, (box.pad_left, box.pad_top)) == (resized_wh, pads)


@given(sides, sides, network_sides, network_sides)
def test_fit_lies_inside_and_touches_two_edges(w: int, h: int, nw: int, nh: int) -> None:
    box = Letterbox.fit((w, h), (nw, nh))
    assert 0 <= box.pad_left <= nw - box.resized_wh[0]
    assert 0 <= box.pad_top <= nh - box.resized_wh[1]
    assert box.resized_wh[0] == nw or box.resized_wh[1] == nh


@given(sides, sides, network_sides, network_sides, st.tuples(*[st.floats(0, 1)] * 4))
def test_there_and_back_returns_the_box(
    w: int, h: int, nw: int, nh: int, corners: tuple[float, float, float, float]
) -> None:
    x1, x2 = sorted((corners[0] * w, corners[1] * w))
    y1, y2 = sorted((corners[2] * h, corners[3] * h))
    boxes = np.array([[x1, y1, x2, y2]], np.float32)
    box = Letterbox.fit((w, h), (nw, nh))
    scale = min(box.scale)
    np.testing.assert_allclose(box.to_frame(box.to_network(boxes)), boxes, atol=max(nw, nh) * 2e-6 / scale + 1e-3)


def test_to_frame_clips_to_the_frame() -> None:
    box = Letterbox.fit((100, 50), (640, 640))
    boxes = box.to_frame(np.array([[-50, -50, 700, 700]], np.float32))
    assert boxes.tolist() == [[0, 0, 100, 50]]


def test_to_frame_of_no_boxes_is_no_boxes() -> None:
    assert Letterbox.fit((100, 50), (640, 640)).to_frame(np.empty((0, 4), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("source_wh", [(0, 5), (5, 0), (-1, 5)])
def test_fit_refuses_an_empty_frame(source_wh: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1x1"):
        Letterbox.fit(source_wh, (640, 640))
