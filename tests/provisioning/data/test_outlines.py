from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from provisioning.data.outlines import box_around

mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        pytest.param([[3, 4, 10, 4.5, 5, 9]], (3, 4, 10, 9), id="one polygon"),
        pytest.param([[3, 4, 10, 4, 5, 9], [1, 6, 2, 6, 2, 20]], (1, 4, 10, 20), id="parts"),
        pytest.param([3, 4, 10, 4, 5, 9], (3, 4, 10, 9), id="not nested"),
        pytest.param([[3, 4], [10, 4], [5, 9]], (3, 4, 10, 9), id="a pair a corner"),
    ],
)
def test_box_around_polygons(segmentation: object, box: tuple[float, ...]) -> None:
    assert box_around(segmentation) == box


@pytest.mark.parametrize("seed", range(30))
def test_box_around_a_mask_is_that_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 60, 2))
    pixels = np.asfortranarray(rng.random((height, width)) < rng.choice([0.02, 0.5, 0.98]), np.uint8)
    if seed % 3 == 0:  # large runs need more than one digit
        pixels = np.zeros((400, 300), np.uint8, order="F")
        pixels[rng.integers(300) :, rng.integers(100) : rng.integers(101, 300)] = 1
    pixels[0, 0] |= not pixels.any()
    encoded = mask.encode(pixels)
    x, y, w, h = (float(value) for value in mask.toBbox(encoded))
    size = [int(side) for side in pixels.shape]
    flat = pixels.ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate(([0], flat))))
    counts = np.diff(np.concatenate(([0], changes, [flat.size]))).tolist()
    for form in (encoded["counts"].decode(), counts):
        assert box_around({"size": size, "counts": form}) == (x, y, x + w, y + h)


@pytest.mark.parametrize(
    "segmentation",
    [
        *(
            [[1, 2, 3, 4]],
            [[1, 2, 3, 4, 5]],
            [["1", 2, 3, 4, 5, 6]],
            [[1, 2, 3, 4, 5, float("nan")]],
            "polygon",
            7,
            [[]],
        ),
        *({}, {"size": [2, 2], "counts": [1, 2]}, {"size": [2, 2], "counts": [4]}, {"size": [2], "counts": [4]}),
        *({"size": [2, 2], "counts": "é"}, {"size": [0, 0], "counts": []}, {"size": [2, 2], "counts": [5, -1]}),
    ],
)
def test_box_around_refuses(segmentation: Any) -> None:
    with pytest.raises(ValueError, match="segmentation"):
        box_around(segmentation)
