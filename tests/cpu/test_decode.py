"""Decode against the formula written as plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from edged.core.decode import GridDecode
from edged.core.types import Floats
from edged.cpu.decode import Decoder

ANCHORS = (((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0)))
STRIDES = (8, 16)
DECODE = GridDecode(ANCHORS, STRIDES)
CLASSES = 3


def random_heads(seed: int, *, width: int = 6, height: int = 4) -> list[Floats]:
    rng = np.random.default_rng(seed)
    shapes = [(2 * (5 + CLASSES), height, width), (2 * (5 + CLASSES), height // 2, width // 2)]
    return [rng.random(shape, dtype=np.float32) for shape in shapes]


def plain_decode(heads: list[Floats], threshold: float) -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = []
    for head, anchors, stride in zip(heads, ANCHORS, STRIDES, strict=True):
        for a, (anchor_w, anchor_h) in enumerate(anchors):
            for gy in range(head.shape[1]):
                for gx in range(head.shape[2]):
                    v = [float(x) for x in head[a * (5 + CLASSES) : (a + 1) * (5 + CLASSES), gy, gx]]
                    best = max(range(CLASSES), key=lambda c: v[5 + c])
                    score = v[4] * v[5 + best]
                    cx, cy = (2 * v[0] - 0.5 + gx) * stride, (2 * v[1] - 0.5 + gy) * stride
                    w, h = (2 * v[2]) ** 2 * anchor_w, (2 * v[3]) ** 2 * anchor_h
                    if score > threshold:
                        rows.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score, best))
    return rows


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.7, 0.999])
def test_decode_equals_plain_loops(threshold: float) -> None:
    heads = random_heads(1)
    found = Decoder(DECODE)(heads, threshold=threshold)
    expected = np.array(plain_decode(heads, threshold), np.float64).reshape(-1, 6)
    assert len(found.xyxy) == len(expected)
    np.testing.assert_allclose(found.xyxy, expected[:, :4], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.score, expected[:, 4], rtol=1e-6)
    np.testing.assert_array_equal(found.class_id, expected[:, 5])


def test_decode_of_silence_is_empty() -> None:
    heads = [np.zeros_like(head) for head in random_heads(0)]
    found = Decoder(DECODE)(heads, threshold=0.001)
    assert found.xyxy.shape == (0, 4)


@pytest.mark.parametrize("channel", [0, 2, 4, 5], ids=["x", "w", "objectness", "class"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_decode_never_lets_a_poisoned_cell_through(channel: int, poison: float) -> None:
    heads = [np.zeros_like(head) for head in random_heads(0)]
    heads[0][:, 1, 2] = 0.9
    good = Decoder(DECODE)(heads, threshold=0.25)
    assert len(good.xyxy) == 2
    heads[0][channel, 1, 2] = poison  # in the first anchor
    found = Decoder(DECODE)(heads, threshold=0.25)
    assert np.isfinite(found.xyxy).all()
    if channel < 4 or np.isnan(poison):
        assert len(found.xyxy) == 1


def test_decode_takes_the_first_of_equal_classes() -> None:
    heads = [np.zeros_like(head) for head in random_heads(0)]
    heads[1][4:8, 0, 0] = 0.9
    found = Decoder(DECODE)(heads, threshold=0.25)
    assert found.class_id.tolist() == [0]


def test_decode_follows_heads_of_another_size() -> None:
    decode = Decoder(DECODE)
    decode(random_heads(1), threshold=0.25)
    heads = random_heads(2, width=4, height=6)
    expected = np.array(plain_decode(heads, 0.25), np.float64)
    np.testing.assert_allclose(decode(heads, threshold=0.25).xyxy, expected[:, :4], rtol=1e-5, atol=1e-4)
