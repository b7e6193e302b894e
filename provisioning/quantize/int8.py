"""Makes the INT8 graphs of a float32 model, with a new calibration on sampled frames or a cached one."""

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
from provisioning.graphs.plain import of_bundle
from provisioning.quantize.cache import Key, Ranges, load_ranges, load_thresholds, save_cache
from provisioning.quantize.calibration import measure_histograms, measure_quantiles, measure_ranges, thresholds
from provisioning.quantize.for_cpu import for_cpu, quantised_tensors
from provisioning.quantize.placement import named, with_qdq
from provisioning.quantize.thresholds import METHODS, Method

CALIBRATION = "calibration.json"  # the calibration cache, as a file of a bundle
FEW_FRAMES = 20  # a tenth of the default of `sample`: with fewer, single pictures decide the ranges
CPU_FRAMES = 32  # at most so many calibration frames, evenly spread, are used for the CPU's ranges


@dataclass(frozen=True, slots=True)
class Quantised:
    """The INT8 graphs and how they were made.

    Attributes:
        model: for TensorRT, with explicit Q/DQ.
        cpu: for ONNX Runtime on a CPU.
        method: of calibration, for TensorRT.
        frames: number of calibration frames.
        frames_sha256: hex digest over their pixels.
        reused: whether the calibration came from the cache.
    """

    model: onnx.ModelProto
    cpu: onnx.ModelProto
    method: Method
    frames: int
    frames_sha256: str
    reused: bool

    def facts(self) -> dict[str, object]:
        """The calibration as the manifest records it; JSON values."""
        return {"method": self.method, "frames": self.frames, "frames_sha256": self.frames_sha256}

    def files(self, cache: Path) -> dict[str, bytes]:
        """The files for a bundle, by name: both graphs, and the cache that `quantize` wrote.

        Raises:
            OSError: the cache cannot be read.
        """
        graphs = {MODEL_INT8: self.model.SerializeToString(), MODEL_INT8_CPU: self.cpu.SerializeToString()}
        return {**graphs, CALIBRATION: cache.read_bytes()}

    @property
    def warning(self) -> str:
        """Why the calibration may be poor; empty if it saw enough frames."""
        if self.frames >= FEW_FRAMES:
            return ""
        return (
            f"calibrated on {self.frames} frame{'s' if self.frames > 1 else ''}: what these do not show "
            "may be clipped; 200 do for a fixed scene (edged-provision sample)"
        )


def quantize(model: onnx.ModelProto, frames: FrameSet, *, method: Method, cache: Path, threads: int = 0) -> Quantised:
    """Calibrate on the calibration frames, preprocessed as the daemon does it, and make both INT8 graphs.

    Args:
        model: float32, heads `p3`, `p4` and so on, input (B, 3, H, W).
        frames: those for verification are not used.
        method: for TensorRT; `minmax` needs one pass over the frames, `entropy` and `percentile` need two.
        cache: file; used if it was made from this model, these frames and this preprocessing, else overwritten.
        threads: of ONNX Runtime; 0 for every core.

    Raises:
        DataError: there are no frames, the graph is not that of a YOLOv5, or values are not finite.
        EdgedError: the cache cannot be written.
    """
    input_wh = _input_wh(model)
    model = named(of_bundle(model))
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
    """Thresholds by method and tensor: of `method`, and of other methods that need no further pass."""
    total = len(frames.of("calibration"))
    ranges = measure_ranges(model, _blobs(frames, input_wh), total=total, threads=threads)
    if method == "minmax":
        return {"minmax": thresholds("minmax", ranges, {})}
    histograms = measure_histograms(model, _blobs(frames, input_wh), ranges, total=total, threads=threads)
    return {name: thresholds(name, ranges, histograms) for name in METHODS}


def _cpu_ranges(
    model: onnx.ModelProto, frames: FrameSet, input_wh: tuple[int, int], tensors: tuple[str, ...], *, threads: int
) -> Ranges:
    """The CPU's ranges, from up to CPU_FRAMES frames: reading every tensor takes several times an inference."""
    total = len(frames.of("calibration"))
    step = -(-total // CPU_FRAMES)
    blobs = _blobs(frames, input_wh, step=step)
    found = measure_quantiles(model, tensors, blobs, total=-(-total // step), threads=threads)
    return {name: (span.low, span.high) for name, span in found.items()}


def _blobs(frames: FrameSet, input_wh: tuple[int, int], *, step: int = 1) -> Iterator[Floats]:
    """Network inputs, (1, 3, H, W) float32, of every `step`-th frame, in one buffer that is overwritten each time."""
    preprocess = Preprocessor(input_wh)
    for pixels in islice(frames.pictures("calibration"), None, None, step):
        preprocess(pixels)
        yield preprocess.blob


def _input_wh(model: onnx.ModelProto) -> tuple[int, int]:
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    if len(model.graph.input) != 1 or len(dims) != 4 or dims[1] != 3 or min(dims[2:]) < 1:  # noqa: PLR2004
        raise DataError(f"expected one input (B, 3, H, W), got {dims}", remedy="quantise the model.onnx of a bundle")
    return dims[3], dims[2]
