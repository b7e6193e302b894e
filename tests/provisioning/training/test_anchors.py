from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from provisioning.data.cache import PictureCache
from provisioning.data.labels import Labels
from provisioning.data.samples import Sample
from provisioning.training.anchors import box_sizes, by_head, fit_anchors, recall
from tests.provisioning.data.pictures import write_picture


def test_recall_counts_boxes_within_the_factor() -> None:
    anchors = np.array([[10.0, 10.0]])
    sizes = np.array([[10.0, 10.0], [39.0, 10.0], [41.0, 10.0], [10.0, 2.4]])
    assert recall(sizes, anchors, ratio=4.0) == 0.5
    assert recall(np.empty((0, 2)), anchors, ratio=4.0) == 1.0


def test_fit_anchors_finds_the_groups() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([[8.0, 12.0], [40.0, 30.0], [150.0, 200.0]])
    sizes = np.concatenate([group * rng.normal(1, 0.03, (200, 2)) for group in groups])
    found = fit_anchors(sizes, count=3, ratio=4.0, seed=0)
    assert found == pytest.approx(groups, rel=0.1)
    assert np.array_equal(found, fit_anchors(sizes, count=3, ratio=4.0, seed=0))


def test_fit_anchors_mends_poor_recall() -> None:
    rng = np.random.default_rng(1)
    sizes = np.exp(rng.uniform(np.log(4), np.log(15), (300, 2)))
    poor = np.array([[100.0, 100.0], [200.0, 200.0], [300.0, 300.0]])
    assert recall(sizes, poor, ratio=4.0) < 0.05
    assert recall(sizes, fit_anchors(sizes, count=3, ratio=4.0, seed=0), ratio=4.0) > 0.99


def test_fit_anchors_needs_as_many_boxes() -> None:
    with pytest.raises(ValueError, match="9 anchors need at least as many boxes, got 2"):
        fit_anchors(np.ones((2, 2)), count=9, ratio=4.0, seed=0)


def test_by_head_gives_small_ones_to_the_fine_head() -> None:
    heads = by_head(np.array([[1.0, 2.04], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]), 2)
    assert np.array(heads).tolist() == [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]


def test_box_sizes_are_pixels_of_the_input(tmp_path: Path) -> None:
    """A picture of 40x20 in an input of 80: the height of its boxes counts half as much as their width."""
    picture = write_picture(tmp_path / "a.png", 40, 20)
    labels = Labels(np.zeros(2, np.int32), np.array([[0.5, 0.5, 0.25, 0.5], [0.5, 0.5, 0.001, 0.5]], np.float32))
    samples = [Sample(picture, labels), Sample(picture, Labels.empty())]
    sizes = box_sizes(PictureCache(samples, side=80, limit_bytes=0))
    assert sizes == pytest.approx(np.array([[20, 20]]))
    assert box_sizes(PictureCache([], side=80, limit_bytes=0)).shape == (0, 2)
