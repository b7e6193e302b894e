"""Measures the ranges of a network's activations over calibration frames, with one frame in memory at a time.

The first pass lets ONNX Runtime reduce every tensor to its minimum and maximum. The second, for methods that need it,
fills histograms over that range. ONNX Runtime's own entropy calibrator is not used: it keeps every activation of every
frame, for which 24 GB were not enough with 200 frames at 640.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper
from tqdm import tqdm

from edged.core.errors import DataError
from edged.core.types import Floats
from edged.cpu.session import open_session
from provisioning.quantize.placement import activations
from provisioning.quantize.thresholds import BINS, Histogram, Method, entropy_threshold, percentile_threshold

TAIL = 1e-4  # share of a frame's values clipped on each side; less costs accuracy at 640 (provisioning/README.md)
SAMPLE = 100_000  # values of a tensor used for its quantiles: enough, and twice as fast as all of them at 640
SMALLEST_THRESHOLD = 1e-2  # keeps scales above 6e-5, the smallest that FP16 holds with full precision


@dataclass(frozen=True, slots=True)
class Range:
    """The smallest and the largest value of a tensor over all frames."""

    low: float
    high: float

    @property
    def limit(self) -> float:
        """The largest magnitude, at least SMALLEST_THRESHOLD."""
        return max(abs(self.low), abs(self.high), SMALLEST_THRESHOLD)


def measure_ranges(
    model: onnx.ModelProto, blobs: Iterable[Floats], *, total: int, threads: int = 0
) -> dict[str, Range]:
    """First pass: minimum and maximum of each tensor of `activations`.

    Args:
        model: float32, every node with a name.
        blobs: network inputs, (1, 3, H, W) float32.
        total: number of blobs, for the progress bar.
        threads: of ONNX Runtime; 0 for every core.

    Raises:
        DataError: there are no frames, or a value is not finite.
    """
    tensors = activations(model)
    session = _session(_with_extremes(model, tensors), threads)
    low = np.full(len(tensors), np.inf)
    high = np.full(len(tensors), -np.inf)
    frames = 0
    for blob in tqdm(blobs, total=total, desc="ranges", unit="frame", disable=None):
        extremes = np.array(_run(session, blob), np.float64)
        if not np.isfinite(extremes).all():
            bad = tensors[int(np.argmin(np.isfinite(extremes))) // 2]
            raise DataError(f"calibration frame {frames}: tensor {bad} is not finite", remedy="the weights are damaged")
        low, high = np.minimum(low, extremes[0::2]), np.maximum(high, extremes[1::2])
        frames += 1
    if not frames:
        raise DataError("calibration needs at least one frame", remedy="edged-provision sample")
    return {name: Range(float(a), float(b)) for name, a, b in zip(tensors, low, high, strict=True)}


def measure_histograms(
    model: onnx.ModelProto, blobs: Iterable[Floats], ranges: dict[str, Range], *, total: int, threads: int = 0
) -> dict[str, Histogram]:
    """Second pass: a histogram of magnitudes for each tensor, (BINS,) int64 over 0..limit.

    Args:
        model: the same as for `measure_ranges`.
        blobs: the same frames.
        ranges: result of the first pass.
        total: number of blobs, for the progress bar.
        threads: of ONNX Runtime; 0 for every core.
    """
    tensors = tuple(ranges)
    session = _session(_with_outputs(model, tensors), threads)
    histograms = {name: np.zeros(BINS, np.int64) for name in tensors}
    for blob in tqdm(blobs, total=total, desc="histograms", unit="frame", disable=None):
        for name, values in zip(tensors, _run(session, blob), strict=True):
            histograms[name] += magnitude_histogram(values, ranges[name].limit)
    return histograms


def measure_quantiles(
    model: onnx.ModelProto, tensors: Sequence[str], blobs: Iterable[Floats], *, total: int, threads: int = 0
) -> dict[str, Range]:
    """The range of each tensor without the outermost TAIL of each frame's values on each side; it always contains 0.

    The quantiles are those of a regular sample of up to about SAMPLE values of each tensor and frame.

    Args:
        model: float32, every node with a name.
        tensors: names of activations.
        blobs: network inputs, (1, 3, H, W) float32.
        total: number of blobs, for the progress bar.
        threads: of ONNX Runtime; 0 for every core.

    Raises:
        DataError: a value that is not finite.
    """
    session = _session(_with_outputs(model, tensors), threads)
    low, high = np.zeros(len(tensors)), np.zeros(len(tensors))
    for frame, blob in enumerate(tqdm(blobs, total=total, desc="CPU ranges", unit="frame", disable=None)):
        spans = np.array([_span(values) for values in _run(session, blob)], np.float64)
        if not np.isfinite(spans).all():
            bad = tensors[int(np.argmin(np.isfinite(spans).all(axis=1)))]
            raise DataError(f"calibration frame {frame}: tensor {bad} is not finite", remedy="the weights are damaged")
        low, high = np.minimum(low, spans[:, 0]), np.maximum(high, spans[:, 1])
    return {name: Range(float(a), float(b)) for name, a, b in zip(tensors, low, high, strict=True)}


def _span(values: Floats) -> tuple[float, float]:
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // SAMPLE)]
    cut = int(TAIL * flat.size)
    ordered = np.partition(flat, (cut, flat.size - 1 - cut))
    return ordered[cut], ordered[-1 - cut]


def magnitude_histogram(values: Floats, limit: float) -> Histogram:
    """Counts of |value| in BINS equal bins over 0..limit, (BINS,) int64; larger values count into the last bin.

    Args:
        values: any shape, float32.
        limit: > 0.
    """
    flat = np.ascontiguousarray(values, np.float32).reshape(-1, 1)
    edge = float(np.nextafter(np.float32(limit), np.float32(np.inf)))  # OpenCV leaves the upper edge out
    counts = cv2.calcHist([flat], [0], None, [2 * BINS], [-edge, edge]).reshape(-1).astype(np.int64)
    folded: Histogram = counts[BINS:] + counts[:BINS][::-1]
    folded[-1] += flat.size - folded.sum()
    return folded


def thresholds(method: Method, ranges: dict[str, Range], histograms: dict[str, Histogram]) -> dict[str, float]:
    """The largest magnitude that INT8 represents, for each tensor, by `method`; `minmax` needs no histograms."""
    if method == "minmax":
        return {name: span.limit for name, span in ranges.items()}
    choose = entropy_threshold if method == "entropy" else percentile_threshold
    chosen = {name: choose(histograms[name], span.limit) for name, span in ranges.items()}
    return {name: max(value, SMALLEST_THRESHOLD) for name, value in chosen.items()}


def _with_extremes(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy whose outputs are the minimum and the maximum of the first tensor, then of the second, and so on."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    del twin.graph.output[:]
    for name in tensors:
        for operator in ("ReduceMin", "ReduceMax"):
            output = f"{name}/{operator}"
            twin.graph.node.append(helper.make_node(operator, [name], [output], keepdims=0))
            twin.graph.output.append(helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, []))
    return twin


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy whose outputs are the tensors themselves; a graph input passes through an Identity."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    del twin.graph.output[:]
    for name in tensors:
        output = f"{name}/Identity"
        twin.graph.node.append(helper.make_node("Identity", [name], [output]))
        twin.graph.output.append(helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    return twin


def _session(model: onnx.ModelProto, threads: int) -> ort.InferenceSession:
    return open_session(model.SerializeToString(), threads=threads, where="the model under calibration")


def _run(session: ort.InferenceSession, blob: Floats) -> list[Floats]:
    outputs: list[Floats] = session.run(None, {session.get_inputs()[0].name: blob})
    return outputs
