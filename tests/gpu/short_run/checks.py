"""What the GPU detector must hold on a real device, with an engine of constant heads: bit by bit what the CPU finds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from edged.capture.boundary.slots import SlotArea
from edged.core.decode import GridDecode
from edged.core.letterbox import Letterbox
from edged.core.manifest import Manifest
from edged.core.types import Detections, Frame, Thresholds
from edged.cpu.preprocess import to_network_input
from edged.cpu.stages import NumpyFinisher
from edged.gpu.cuda import Cuda
from edged.gpu.detector import GpuDetector
from tests.bilinear import letterboxed
from tests.gpu.constant_engine import ConstantEngine

# Those of YOLOv5, published with it.
ANCHORS = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)
STRIDES = (8, 16, 32)
DECODE = GridDecode(ANCHORS, STRIDES)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is examined.

    Attributes:
        input_wh: the network's.
        classes: of the model.
        objects: share of cells whose objectness is not zero.
        max_batch: every size up to it is a graph.
        timed: batch sizes that are timed.
        sizes_wh: of the frames.
        repeats: batches of each measurement.
        churns: batches that run while another thread pins and unpins.
    """

    input_wh: tuple[int, int]
    classes: int
    objects: float
    max_batch: int
    timed: tuple[int, ...]
    sizes_wh: tuple[tuple[int, int], ...]
    repeats: int
    churns: int


# As many objects as yolov5n sees candidates on a busy street.
FULL = Scale((640, 640), 80, 0.004, 16, (1, 4, 8, 16), ((1920, 1080), (1280, 720)), repeats=100, churns=300)
SMALL = Scale((64, 64), 3, 0.3, 3, (1, 3), ((96, 54), (64, 36)), repeats=2, churns=20)


class Bench:
    """An opened detector and what its results must be.

    Args:
        gpu: current in this thread.
        scale: see there.
        dtype: of the engine's input and heads.
    """

    def __init__(self, gpu: Cuda, scale: Scale, dtype: str) -> None:
        self.scale = scale
        self.manifest = Manifest(
            name="constant",
            architecture="handmade",
            classes=tuple(map(str, range(scale.classes))),
            decode=DECODE,
            input_wh=scale.input_wh,
            licence="Apache-2.0",
            files={},
        )
        self.heads = [_heads(scale, seed, dtype) for seed in range(scale.max_batch)]
        self.thresholds = Thresholds()
        self.engine = ConstantEngine(gpu, self.manifest, self.heads)
        self.detector = GpuDetector(gpu, self.engine, self.manifest, thresholds=self.thresholds)

    def wanted(self, image: int, frame_wh: tuple[int, int]) -> Detections:
        """What the CPU's decode and NMS make of an image's heads."""
        heads = [head.astype(np.float32) for head in self.heads[image]]
        finish = NumpyFinisher(heads, DECODE)
        return finish(Letterbox.fit(frame_wh, self.scale.input_wh), self.thresholds)[0]

    def require(self, results: Sequence[Detections], frames: Sequence[Frame]) -> None:
        """Every bit of them as on the CPU.

        Raises:
            AssertionError: they differ.
        """
        for image, (got, frame) in enumerate(zip(results, frames, strict=True)):
            wanted = self.wanted(image, frame.meta.size_wh)
            where = f"image {image} of {len(frames)}"
            np.testing.assert_array_equal(got.xyxy, wanted.xyxy, where)
            np.testing.assert_array_equal(got.confidence, wanted.confidence, where)
            np.testing.assert_array_equal(got.class_id, wanted.class_id, where)
            assert len(got), f"{where}: nothing was found, so nothing is shown"


def _heads(scale: Scale, seed: int, dtype: str) -> list[Array]:
    """Sigmoided p3, p4, p5 of one image, most cells empty."""
    rng = np.random.default_rng(seed)
    made = []
    for stride in STRIDES:
        rows, cols = scale.input_wh[1] // stride, scale.input_wh[0] // stride
        head = rng.random((3, 5 + scale.classes, rows, cols), np.float32)
        head[:, 4] *= rng.random((3, rows, cols)) < scale.objects
        made.append(head.reshape(-1, rows, cols).astype(dtype))
    return made


def detect(detector: GpuDetector, frames: Sequence[Frame]) -> list[Detections]:
    """One batch, to its end."""
    detector.submit(frames)
    return [result.detections for result in detector.collect()]


def check_graphs(bench: Bench, _frames: Sequence[Frame]) -> None:
    """Every batch size runs as a graph."""
    wanted = set(range(1, bench.scale.max_batch + 1))
    assert bench.detector.graph_batches == wanted, f"graphs for {sorted(bench.detector.graph_batches)} only"


def check_results(bench: Bench, frames: Sequence[Frame]) -> None:
    """Batches of every size give what the CPU gives, frames of two sizes among them."""
    for batch in range(1, bench.scale.max_batch + 1):
        bench.require(detect(bench.detector, frames[:batch]), frames[:batch])


def check_two_under_way(bench: Bench, frames: Sequence[Frame]) -> None:
    """Results come in order while another batch is under way."""
    detector, sizes = bench.detector, [1, bench.scale.max_batch, 2, 1]
    detector.submit(frames[: sizes[0]])
    for batch, following in pairwise(sizes):
        detector.submit(frames[:following])
        bench.require([result.detections for result in detector.collect()], frames[:batch])
    bench.require([result.detections for result in detector.collect()], frames[: sizes[-1]])


def check_input(bench: Bench, frames: Sequence[Frame]) -> None:
    """The pinned pixels arrive as the network's input, within one grey level of the CPU's."""
    batch = min(4, bench.scale.max_batch)
    detect(bench.detector, frames[:batch])
    gpu, engine = bench.detector.gpu, bench.engine
    width, height = bench.scale.input_wh
    dtype = np.dtype(engine.tensors["images"].dtype)
    host = gpu.allocate_pinned(batch * 3 * width * height * dtype.itemsize)
    gpu.download(host.ctypes.data, engine.input_address, host.nbytes, bench.detector.compute)
    gpu.synchronize(bench.detector.compute)
    got = host.view(dtype).reshape(batch, 3, height, width).astype(np.float32)
    for image, frame in enumerate(frames[:batch]):
        wanted = to_network_input(letterboxed(frame.pixels, bench.scale.input_wh))
        apart = float(np.abs(got[image] - wanted).max() * 255)
        assert apart < 1.2, f"image {image}: {apart:.2f} grey levels from the CPU's"  # 0.13 more where it is float16
    del got
    gpu.free_pinned(host)


def check_pinning_elsewhere(bench: Bench, frames: Sequence[Frame]) -> None:
    """Another thread pins and unpins while batches run, as it does when cameras come and go."""
    problems: list[BaseException] = []
    stop = threading.Event()

    def churn() -> None:
        try:
            while not stop.is_set():
                area = SlotArea(number=1, count=2, picture_bytes=1 << 20)
                area.close_descriptor()
                assert bench.detector.pin(area.address, area.length), "memory of a camera is not pinned"
                bench.detector.unpin(area.address)
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that waits
            problems.append(exc)

    thread = threading.Thread(target=churn, name="churn")
    thread.start()
    try:
        for _ in range(bench.scale.churns):
            found = detect(bench.detector, frames[:2])
    finally:
        stop.set()
        thread.join()
    if problems:
        raise problems[0]
    bench.require(found, frames[:2])


CHECKS: tuple[Callable[[Bench, Sequence[Frame]], None], ...] = (
    check_graphs,
    check_results,
    check_two_under_way,
    check_input,
    check_pinning_elsewhere,
)
