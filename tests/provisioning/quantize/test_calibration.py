"""Measured ranges and histograms against numpy over the same activations."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from edged.core.errors import DataError
from edged.core.types import Floats
from provisioning.quantize.calibration import (
    SMALLEST_THRESHOLD,
    Range,
    magnitude_histogram,
    measure_histograms,
    measure_ranges,
    thresholds,
)
from provisioning.quantize.placement import activations
from provisioning.quantize.thresholds import BINS


def all_activations(model: onnx.ModelProto, blobs: list[Floats]) -> dict[str, Floats]:
    """Every quantised tensor over every frame, by ONNX Runtime without any optimisation."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    names = [name for name in activations(model) if name != "images"]
    twin.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(twin.SerializeToString(), options)
    runs = [session.run(names, {"images": blob}) for blob in blobs]
    found = {name: np.stack([np.asarray(run[place]) for run in runs]) for place, name in enumerate(names)}
    return {"images": np.stack(blobs), **found}


def test_measure_ranges_agrees_with_numpy(network: onnx.ModelProto, blobs: list[Floats]) -> None:
    ranges = measure_ranges(network, blobs, total=len(blobs))
    expected = all_activations(network, blobs)
    assert ranges.keys() == expected.keys()
    for name, values in expected.items():
        assert ranges[name].low == pytest.approx(values.min(), rel=1e-4, abs=1e-5)
        assert ranges[name].high == pytest.approx(values.max(), rel=1e-4, abs=1e-5)


def test_measure_histograms_agrees_with_numpy(network: onnx.ModelProto, blobs: list[Floats]) -> None:
    ranges = measure_ranges(network, blobs, total=len(blobs))
    histograms = measure_histograms(network, blobs, ranges, total=len(blobs))
    for name, values in all_activations(network, blobs).items():
        edges = np.linspace(0, ranges[name].limit, BINS + 1)
        expected = np.cumsum(np.histogram(np.minimum(np.abs(values), ranges[name].limit), bins=edges)[0])
        got = np.cumsum(histograms[name])
        assert got[-1] == values.size
        # Bin edges round differently in float32: a value may fall into the bin next to it.
        assert np.abs(got - expected).max() <= max(4, 2e-3 * values.size)


def test_magnitude_histogram_counts_both_signs_and_clips() -> None:
    values = np.array([-1.0, 1.0, 0.25, -0.25, 5.0], np.float32)
    histogram = magnitude_histogram(values, 1.0)
    assert histogram.sum() == 5
    assert histogram[-1] == 3
    assert histogram[BINS // 4 - 2 : BINS // 4 + 2].sum() == 2


def test_thresholds_of_minmax_are_the_largest_magnitudes() -> None:
    assert thresholds("minmax", {"a": Range(-3.0, 2.0), "b": Range(0.0, 0.0)}, {}) == {
        "a": 3.0,
        "b": SMALLEST_THRESHOLD,
    }


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_thresholds_never_exceed_what_was_seen(network: onnx.ModelProto, blobs: list[Floats], method: str) -> None:
    ranges = measure_ranges(network, blobs, total=len(blobs))
    histograms = measure_histograms(network, blobs, ranges, total=len(blobs))
    chosen = thresholds(method, ranges, histograms)  # type: ignore[arg-type]
    assert all(0 < chosen[name] <= span.limit * (1 + 1e-6) for name, span in ranges.items())


def test_measure_ranges_without_a_frame_is_refused(network: onnx.ModelProto) -> None:
    with pytest.raises(DataError, match="at least one frame"):
        measure_ranges(network, [], total=0)


def test_measure_ranges_names_the_tensor_that_is_not_finite(network: onnx.ModelProto, blobs: list[Floats]) -> None:
    with pytest.raises(DataError, match="frame 1: tensor images is not finite"):
        measure_ranges(network, [blobs[0], np.full_like(blobs[0], np.inf)], total=2)
