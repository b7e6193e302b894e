"""The whole detector on a real engine, built here from the hand-made model: what only a GPU can show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.types import Detections, Frame, FrameMeta, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from edged.gpu.detector import GpuDetector
from edged.gpu.engine import TensorRtEngine
from edged.gpu.runtime_cache import RuntimeCache
from edged.gpu.tensorrt import KINDS, TITLES, TensorRt, installed, load
from provisioning.build.log import BuildLog
from provisioning.build.tensorrt_build import CURRENT, Order, build
from tests.gpu.ground import open_device
from tests.handmade import draw_square, write_bundle

pytestmark = pytest.mark.gpu
MAX_BATCH = 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("bundle") / "squares"))


@pytest.fixture(scope="module", params=KINDS)
def tensorrt(request: pytest.FixtureRequest) -> TensorRt:
    """Each TensorRT that is installed."""
    if request.param not in installed():
        pytest.skip(f"{TITLES[request.param]} is not installed")
    return load(request.param)


@pytest.fixture(scope="module")
def plan(bundle: Bundle, tensorrt: TensorRt) -> bytes:
    """An FP32 engine of raw heads, from the TensorRT that is installed."""
    open_device().enter()
    order = Order("fp32", (1, 2, MAX_BATCH), 1 << 30, capabilities=(CURRENT,) if tensorrt.portable else ())
    return build(tensorrt, bundle.read(MODEL), order, BuildLog(), lambda *_: None).plan


@pytest.fixture
def detector(bundle: Bundle, tensorrt: TensorRt, plan: bytes) -> Iterator[GpuDetector]:
    made = make_detector(bundle, tensorrt, plan)
    yield made
    made.close()


def make_detector(bundle: Bundle, tensorrt: TensorRt, plan: bytes) -> GpuDetector:
    from edged.gpu.device import open_gpu

    gpu = open_gpu()
    cache = RuntimeCache.of(plan, tensorrt, gpu.name) if tensorrt.runtime_config else None
    engine = TensorRtEngine(tensorrt, plan, gpu, where="test", cache=cache)
    return GpuDetector(gpu, engine, bundle.manifest, thresholds=Thresholds())


def scenes(count: int) -> list[Frame]:
    """Coloured squares on a dim noise, in frames of many sizes."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        image: Pixels = rng.integers(0, 60, (320, 320, 3), np.uint8)
        for _ in range(3):
            left, top = (int(place) * 16 + 8 for place in rng.integers(0, 15, 2))
            draw_square(image, str(rng.choice(["red", "green", "blue"])), left, top)
        side = 320 + 40 * (index % 5)
        pixels = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
        meta = FrameMeta("cam", index, datetime.now(timezone.utc), 0, (side, side))
        made.append(Frame(meta, pixels))
    return made


def on_cpu(bundle: Bundle, frames: list[Frame]) -> list[Detections]:
    cpu = CpuDetector(bundle, thresholds=Thresholds(), threads=1)
    found = []
    for frame in frames:
        cpu.submit([frame])
        found += [result.detections for result in cpu.collect()]
    cpu.close()
    return found


def require_alike(got: list[Detections], wanted: list[Detections]) -> None:
    """The engine sums floats in another order than ONNX Runtime, and may do so in TF32."""
    for one, other in zip(got, wanted, strict=True):
        assert len(one) == len(other)
        np.testing.assert_array_equal(np.sort(one.class_id), np.sort(other.class_id))
        np.testing.assert_allclose(np.sort(one.confidence), np.sort(other.confidence), atol=0.02)
        np.testing.assert_allclose(np.sort(one.xyxy, axis=0), np.sort(other.xyxy, axis=0), atol=1.0)


def test_gpu_detector_equals_the_cpu_in_every_batch_size(detector: GpuDetector, bundle: Bundle) -> None:
    frames = scenes(20)
    got: list[Detections] = []
    rest = list(frames)
    for batch in (1, 2, 3, 4, 4, 3, 2, 1):
        detector.submit(rest[:batch])
        rest = rest[batch:]
        got += [result.detections for result in detector.collect()]
    wanted = on_cpu(bundle, frames)
    assert sum(len(one) for one in wanted) >= 20
    require_alike(got, wanted)


def test_gpu_detector_with_two_batches_under_way(detector: GpuDetector, bundle: Bundle) -> None:
    frames = scenes(12)
    got: list[Detections] = []
    detector.submit(frames[:2])
    for start in range(2, 12, 2):
        detector.submit(frames[start : start + 2])
        got += [result.detections for result in detector.collect()]
    got += [result.detections for result in detector.collect()]
    require_alike(got, on_cpu(bundle, frames))


def test_gpu_detector_is_captured_where_a_context_is_its_own(detector: GpuDetector) -> None:
    engine = detector._engine
    assert isinstance(engine, TensorRtEngine)
    assert detector.graph_batches == (set(range(1, MAX_BATCH + 1)) if engine.has_own_contexts else set())


def test_gpu_detector_reads_pinned_memory(detector: GpuDetector, bundle: Bundle) -> None:
    memory: Pixels = np.zeros(1 << 20, np.uint8)
    pixels = memory[: 320 * 320 * 3].reshape(320, 320, 3)
    pixels[:] = scenes(1)[0].pixels
    pinned = detector.pin(memory.ctypes.data, memory.nbytes)
    frame = Frame(FrameMeta("cam", 0, datetime.now(timezone.utc), 0, (320, 320)), pixels)
    detector.submit([frame])
    require_alike([detector.collect()[0].detections], on_cpu(bundle, [frame]))
    if pinned:
        detector.unpin(memory.ctypes.data)


def test_gpu_memory_comes_back_when_a_detector_is_closed(bundle: Bundle, tensorrt: TensorRt, plan: bytes) -> None:
    watch = open_device()
    watch.enter()
    free: list[int] = []
    for _ in range(4):
        make_detector(bundle, tensorrt, plan).close()
        watch.enter()
        free.append(watch.memory_bytes()[0])
    assert free[-1] >= free[1] - (8 << 20)


def test_gpu_every_kernel_was_loaded_lazily() -> None:
    from edged.gpu.cuda import loading_mode

    open_device()
    assert loading_mode() == "LAZY"


def test_gpu_kernels_are_kept_for_the_next_start() -> None:
    from edged.gpu.kernel_cache import MODULES, cache_directory

    open_device()
    assert len(list(cache_directory().glob("*.bin"))) >= len(MODULES)
