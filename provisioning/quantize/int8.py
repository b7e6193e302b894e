"""From a float32 model and sampled frames to the INT8 graphs, calibrated or taken from the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import onnx

from edged.core.bundle import MODEL_INT8, MODEL_INT8_CPU
from edged.core.errors import DataError
from edged.core.types import Floats
from edged.cpu.preprocess import Preprocessor
from provisioning.frames.frameset import FrameSet
from provisioning.plain import without_shape_arithmetic
from provisioning.quantize.cache import Key, Ranges, load_ranges, load_thresholds, save_cache
from provisioning.quantize.calibration import measure_histograms, measure_quantiles, measure_ranges, thresholds
from provisioning.quantize.for_cpu import for_cpu, quantised_tensors
from provisioning.quantize.placement import named, with_qdq
from provisioning.quantize.thresholds import METHODS, Method

CALIBRATION = "calibration.json"  # the cache of ranges, in a bundle
FEW_FRAMES = 20  # a tenth of what `sample` takes for a fixed scene: with fewer, ranges are those of single pictures
CPU_FRAMES = 32  # at most, spread over those for calibration


@dataclass(frozen=True, slots=True)
class Quantised:
    """The INT8 graphs and how they came about.

    Attributes:
        model: for TensorRT, with explicit Q/DQ.
        cpu: for ONNX Runtime on a CPU.
        method: of calibration.
        frames: how many it saw.
        frames_sha256: over their pixels.
        reused: whether the cache spared the calibration.
    """

    model: onnx.ModelProto
    cpu: onnx.ModelProto
    method: Method
    frames: int
    frames_sha256: str
    reused: bool

    def facts(self) -> dict[str, object]:
        """What the manifest says of the calibration."""
        return {"method": self.method, "frames": self.frames, "frames_sha256": self.frames_sha256}

    def files(self, cache: Path) -> dict[str, bytes]:
        """What a bundle gets of it, by name: both graphs, and the cache that `quantize` left."""
        graphs = {MODEL_INT8: self.model.SerializeToString(), MODEL_INT8_CPU: self.cpu.SerializeToString()}
        return {**graphs, CALIBRATION: cache.read_bytes()}

    @property
    def warning(self) -> str:
        """What speaks against the calibration, or nothing."""
        if self.frames >= FEW_FRAMES:
            return ""
        return (
            f"calibrated on {self.frames} frame{'s' if self.frames > 1 else ''}: what these do not show "
            "may be clipped; 200 do for a fixed scene (edged-provision sample)"
        )


def quantize(model: onnx.ModelProto, frames: FrameSet, *, method: Method, cache: Path, threads: int = 0) -> Quantised:
    """Calibrate on the frames kept for it, through the daemon's own letterbox, and place Q/DQ.

    Args:
        model: float32, heads `p3 p4 p5`, input (B, 3, H, W).
        frames: sampled; those for verification are never looked at.
        method: for TensorRT; `minmax` needs one pass over the frames, `entropy` and `percentile` a second one.
        cache: read if it belongs to this model, these frames and this preprocessing, else written.
        threads: of ONNX Runtime; 0 for every core.

    Raises:
        DataError: no frames, a graph that is no YOLOv5, values that are not finite.
        EdgedError: the cache cannot be written.
    """
    input_wh = _input_wh(model)
    model = named(without_shape_arithmetic(model))  # imports of earlier releases have some
    count = len(frames.of("calibration"))
    digest = frames.digest("calibration")
    key = Key.of(model, digest, input_wh)
    tensors = quantised_tensors(model)
    chosen, ranges = load_thresholds(cache, key, method, model), load_ranges(cache, key, tensors)
    reused = chosen is not None and ranges is not None
    if chosen is None or ranges is None:
        by_method = _calibrate(model, frames, input_wh, method=method, threads=threads)
        ranges = ranges or _cpu_ranges(model, frames, input_wh, tensors, threads=threads)
        save_cache(cache, key, count, thresholds=by_method, cpu=ranges)
        chosen = by_method[method]
    return Quantised(with_qdq(model, chosen), for_cpu(model, ranges), method, count, digest, reused)


def _calibrate(
    model: onnx.ModelProto, frames: FrameSet, input_wh: tuple[int, int], *, method: Method, threads: int
) -> dict[str, dict[str, float]]:
    """Thresholds of `method`, and of the others where the same passes give them too."""
    total = len(frames.of("calibration"))
    ranges = measure_ranges(model, _blobs(frames, input_wh), total=total, threads=threads)
    if method == "minmax":
        return {"minmax": thresholds("minmax", ranges, {})}
    histograms = measure_histograms(model, _blobs(frames, input_wh), ranges, total=total, threads=threads)
    return {name: thresholds(name, ranges, histograms) for name in METHODS}


def _cpu_ranges(
    model: onnx.ModelProto, frames: FrameSet, input_wh: tuple[int, int], tensors: tuple[str, ...], *, threads: int
) -> Ranges:
    """From some of the frames: every tensor of each is looked at, which takes several times its inference."""
    total = len(frames.of("calibration"))
    step = -(-total // CPU_FRAMES)
    blobs = _blobs(frames, input_wh, step=step)
    found = measure_quantiles(model, tensors, blobs, total=-(-total // step), threads=threads)
    return {name: (span.low, span.high) for name, span in found.items()}


def _blobs(frames: FrameSet, input_wh: tuple[int, int], *, step: int = 1) -> Iterator[Floats]:
    """(1, 3, H, W) float32 of every `step`th frame, one buffer overwritten for each."""
    preprocess = Preprocessor(input_wh)
    for pixels in islice(frames.pictures("calibration"), None, None, step):
        preprocess(pixels)
        yield preprocess.blob


def _input_wh(model: onnx.ModelProto) -> tuple[int, int]:
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    if len(model.graph.input) != 1 or len(dims) != 4 or dims[1] != 3 or min(dims[2:]) < 1:  # noqa: PLR2004
        raise DataError(f"expected one input (B, 3, H, W), got {dims}", remedy="quantise the model.onnx of a bundle")
    return dims[3], dims[2]
