"""The GPU detector over the real kernels in host memory: equal to the CPU detector, sound on any failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import BundleMismatch, DataError, DetectorError
from edged.core.protocols import TunableDetector
from edged.core.types import Detections, Frame, FrameMeta, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from edged.gpu.detector import GpuDetector
from edged.gpu.errors import DeviceLost
from tests.gpu.host_engine import HostEngine
from tests.gpu.host_gpu import HostGpu
from tests.handmade import draw_square, write_bundle

LOST = DeviceLost("cuLaunchKernel failed: CUDA_ERROR_ILLEGAL_ADDRESS (700)")
REFUSED = DetectorError("cuStreamBeginCapture failed: CUDA_ERROR_NOT_SUPPORTED (801)")


def frame(pixels: Pixels, *, sequence: int = 0) -> Frame:
    size_wh = (pixels.shape[1], pixels.shape[0])
    return Frame(FrameMeta("cam", sequence, datetime.now(timezone.utc), 1, size_wh), pixels)


def scene(seed: int, size_wh: tuple[int, int] = (320, 320)) -> Pixels:
    """Coloured squares where the hand-made model sees them, on a dim noise."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (320, 320, 3), np.uint8)
    for _ in range(4):
        left, top = (int(place) * 16 + 8 for place in rng.integers(0, 15, 2))
        draw_square(image, str(rng.choice(["red", "green", "blue"])), left, top)
    return (
        image if size_wh == (320, 320) else cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("bundle") / "squares"))


@pytest.fixture
def gpu() -> HostGpu:
    return HostGpu()


Build = Callable[..., GpuDetector]


@pytest.fixture
def build(gpu: HostGpu, bundle: Bundle) -> Iterator[Build]:
    made: list[GpuDetector] = []

    def build_detector(
        *,
        in_engine: bool = False,
        half: bool = False,
        max_batch: int = 2,
        thresholds: Thresholds | None = None,
        spoil: float | None = None,
        deadline_s: float = 10.0,
    ) -> GpuDetector:
        engine = HostEngine(
            gpu, bundle.read(MODEL), bundle.manifest, max_batch=max_batch, in_engine=in_engine, half=half
        )
        if spoil is not None:
            engine.spoil = np.array(spoil, np.float32)
        made.append(
            GpuDetector(gpu, engine, bundle.manifest, thresholds=thresholds or Thresholds(), deadline_s=deadline_s)
        )
        return made[-1]

    yield build_detector
    for detector in made:
        detector.close()


def on_cpu(bundle: Bundle, frames: Sequence[Frame], thresholds: Thresholds | None = None) -> list[Detections]:
    detector = CpuDetector(bundle, thresholds=thresholds or Thresholds(), threads=1)
    try:
        return [detect(detector, [one])[0] for one in frames]
    finally:
        detector.close()


def detect(detector: TunableDetector, frames: Sequence[Frame]) -> list[Detections]:
    detector.submit(frames)
    return [result.detections for result in detector.collect()]


def require_equal(got: Sequence[Detections], wanted: Sequence[Detections]) -> None:
    assert [len(one) for one in got] == [len(one) for one in wanted]
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one.class_id, other.class_id)
        np.testing.assert_allclose(one.confidence, other.confidence, rtol=1e-6)  # ONNX Runtime's batches differ so far
        np.testing.assert_allclose(one.xyxy, other.xyxy, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("decode", ["kernel", "plugin"])
def test_detector_equals_the_cpu_on_frames_of_many_sizes(build: Build, bundle: Bundle, decode: str) -> None:
    detector = build(in_engine=decode == "plugin")
    sizes = [(320, 320), (640, 360), (321, 577), (1920, 1080), (64, 48), (1, 1)]
    frames = [frame(scene(k, size)) for k, size in enumerate(sizes)]
    got = [detections for pair in (frames[:2], frames[2:4], frames[4:]) for detections in detect(detector, pair)]
    wanted = on_cpu(bundle, frames)
    assert sum(len(one) for one in wanted) >= 5
    require_equal(got, wanted)


def test_detector_with_half_tensors_finds_the_same_boxes(build: Build, bundle: Bundle) -> None:
    frames = [frame(scene(5))]
    got, wanted = detect(build(half=True), frames)[0], on_cpu(bundle, frames)[0]
    np.testing.assert_array_equal(got.class_id, wanted.class_id)
    np.testing.assert_allclose(got.xyxy, wanted.xyxy, atol=0.5)


def test_detector_uploads_the_next_batch_under_the_running_one(build: Build, bundle: Bundle) -> None:
    detector = build()
    frames = [frame(scene(k, (320, 240 + k)), sequence=k) for k in range(6)]
    got: list[Detections] = []
    detector.submit(frames[:1])
    for one in frames[1:]:
        assert detector.room == 2
        detector.submit([one])
        assert detector.room == 0
        got += [result.detections for result in detector.collect()]
    got += [result.detections for result in detector.collect()]
    require_equal(got, on_cpu(bundle, frames))


def test_detector_results_carry_their_frames_and_timings(build: Build) -> None:
    detector = build()
    frames = [frame(scene(k), sequence=k) for k in range(2)]
    detector.submit(frames)
    results = detector.collect()
    assert [result.meta for result in results] == [one.meta for one in frames]
    assert all(result.timings["total"] >= result.timings["detect"] >= 0 for result in results)


def test_detector_thresholds_replaced_at_run_time_hold_at_once(build: Build, bundle: Bundle) -> None:
    detector = build()
    one = [frame(scene(8))]
    present = {int(class_id) for class_id in on_cpu(bundle, one)[0].class_id}
    assert len(present) > 1
    for thresholds in (
        Thresholds(),
        Thresholds(class_ids=frozenset({min(present)})),
        Thresholds(max_detections=1),
        Thresholds(confidence=0.99),
        Thresholds(iou=0.0),
        Thresholds(confidence=0.001, iou=1.0),
    ):
        detector.thresholds = thresholds
        require_equal(detect(detector, one), on_cpu(bundle, one, thresholds))


def test_detector_runs_a_graph_a_batch_size_and_allocates_nothing_a_frame(build: Build, gpu: HostGpu) -> None:
    detector = build(max_batch=3)
    assert detector.graph_batches == {1, 2, 3}
    detect(detector, [frame(scene(0))])  # the upload ring is made with the first frame that needs it
    detect(detector, [frame(scene(0))])
    gpu.calls.clear()
    for batch in (1, 2, 3, 1):
        detect(detector, [frame(scene(k)) for k in range(batch)])
    assert gpu.calls.count("replay") == 4
    assert set(gpu.calls) == {"enter", "upload", "record", "wait", "replay", "download", "is_reached"}


@pytest.mark.parametrize("decode", ["kernel", "plugin"])
def test_detector_lists_what_is_admitted_where_the_decode_cannot_know_the_confidence(
    build: Build, gpu: HostGpu, decode: str
) -> None:
    build(in_engine=decode == "plugin", max_batch=1)
    nms = [call for call in gpu.calls if call.startswith("nms_")]
    assert nms[-2:] == ["nms_rank", "nms_greedy"]
    assert ("nms_admit" in nms) == (decode == "plugin")


def test_detector_without_graphs_enqueues_plainly(
    build: Build, bundle: Bundle, gpu: HostGpu, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.failures["capture"] = REFUSED
    detector = build()
    assert not detector.graph_batches and "without a CUDA graph" in caplog.text
    frames = [frame(scene(k)) for k in range(2)]
    require_equal(detect(detector, frames), on_cpu(bundle, frames))


def test_detector_larger_pictures_than_ever_grow_the_frame_memory(build: Build, bundle: Bundle, gpu: HostGpu) -> None:
    detector = build(max_batch=1)
    small, large = frame(scene(0)), frame(scene(1, (3840, 2160)))
    require_equal(
        [detections for one in (small, large, large, small) for detections in detect(detector, [one])],
        on_cpu(bundle, [small, large, large, small]),
    )
    gpu.calls.clear()
    detect(detector, [large])
    assert "allocate" not in gpu.calls


def test_detector_without_memory_for_a_larger_picture_goes_on_with_smaller_ones(
    build: Build, bundle: Bundle, gpu: HostGpu
) -> None:
    detector = build(max_batch=1)
    small, large = frame(scene(0)), frame(scene(1, (3840, 2160)))
    require_equal(detect(detector, [small]), on_cpu(bundle, [small]))
    gpu.failures["allocate"] = DetectorError("cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2)")
    for one in (large, small):  # what was freed is neither used nor freed again
        with pytest.raises(DetectorError, match="OUT_OF_MEMORY"):
            detector.submit([one])
    del gpu.failures["allocate"]
    for _ in range(2):
        require_equal(detect(detector, [small]), on_cpu(bundle, [small]))


def test_detector_pinned_memory_is_read_without_a_copy(build: Build, bundle: Bundle, gpu: HostGpu) -> None:
    detector = build(max_batch=1)
    memory = np.zeros(2 * 320 * 320 * 3, np.uint8)
    pixels = memory[320 * 320 * 3 :].reshape(320, 320, 3)
    pixels[:] = scene(3)
    assert detector.pin(memory.ctypes.data, memory.nbytes)
    gpu.calls.clear()
    require_equal(detect(detector, [frame(pixels)]), on_cpu(bundle, [frame(pixels)]))
    assert "allocate_pinned" not in gpu.calls
    detector.unpin(memory.ctypes.data)
    assert not gpu.pinned
    require_equal(detect(detector, [frame(pixels)]), on_cpu(bundle, [frame(pixels)]))
    assert "allocate_pinned" in gpu.calls


def test_detector_frames_that_are_views_are_copied_whole(build: Build, bundle: Bundle) -> None:
    turned = np.rot90(scene(4))
    assert not turned.flags.c_contiguous
    require_equal(detect(build(), [frame(turned)]), on_cpu(bundle, [frame(np.ascontiguousarray(turned))]))


@pytest.mark.parametrize("end", ["closed", "lost"])
def test_detector_that_is_gone_leaves_camera_memory_alone(build: Build, gpu: HostGpu, end: str) -> None:
    detector = build(max_batch=1)
    memory = scene(4)
    assert detector.pin(memory.ctypes.data, memory.nbytes)
    if end == "lost":
        gpu.failures["upload"] = gpu.failures["unpin"] = LOST
        with pytest.raises(DeviceLost):
            detector.submit([frame(memory)])
    else:
        detector.close()
    gpu.calls.clear()
    detector.unpin(memory.ctypes.data)
    assert not detector.pin(memory.ctypes.data, memory.nbytes)
    assert not gpu.calls


def test_detector_views_of_pinned_memory_are_copied_whole_too(build: Build, bundle: Bundle) -> None:
    detector = build(max_batch=1)
    memory = scene(4)
    assert detector.pin(memory.ctypes.data, memory.nbytes)
    turned = memory[:, ::-1]
    require_equal(detect(detector, [frame(turned)]), on_cpu(bundle, [frame(np.ascontiguousarray(turned))]))


def test_detector_memory_that_cannot_be_pinned_goes_through_the_ring(
    build: Build, bundle: Bundle, gpu: HostGpu, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    detector = build()
    gpu.failures["pin"] = REFUSED
    pixels = scene(3)
    assert not detector.pin(pixels.ctypes.data, pixels.nbytes)
    detector.unpin(pixels.ctypes.data)
    assert "cannot be pinned" in caplog.text and "unpin" not in gpu.calls
    require_equal(detect(detector, [frame(pixels)]), on_cpu(bundle, [frame(pixels)]))


def test_detector_may_change_threads(build: Build, gpu: HostGpu) -> None:
    detector = build()
    found: list[Detections] = []
    gpu.calls.clear()
    thread = threading.Thread(target=lambda: found.extend(detect(detector, [frame(scene(0))])))
    thread.start()
    thread.join()
    assert len(found) == 1 and gpu.calls[0] == "enter"


@pytest.mark.parametrize("count", [0, 3])
def test_detector_refuses_a_batch_of_impossible_size(build: Build, count: int) -> None:
    with pytest.raises(DetectorError, match=f"submit takes 1 to 2 frames now, got {count}"):
        build().submit([frame(scene(0))] * count)


def test_detector_refuses_more_than_two_batches(build: Build) -> None:
    detector = build()
    detector.submit([frame(scene(0))])
    detector.submit([frame(scene(0))])
    with pytest.raises(DetectorError, match="submit takes 1 to 0 frames"):
        detector.submit([frame(scene(0))])


def test_detector_collect_without_submit_is_an_error(build: Build) -> None:
    with pytest.raises(DetectorError, match="nothing is under way"):
        build().collect()


@pytest.mark.parametrize("call", ["upload", "replay", "download", "record"])
def test_detector_a_lost_device_ends_it_and_close_touches_nothing(build: Build, gpu: HostGpu, call: str) -> None:
    detector = build()
    gpu.failures[call] = LOST
    with pytest.raises(DeviceLost, match="ILLEGAL_ADDRESS") as caught:
        detector.submit([frame(scene(0))])
    assert caught.value.exit_code == 70
    gpu.calls.clear()
    detector.close()
    assert not [name for name in gpu.calls if name != "enter"]


def test_detector_hang_is_a_lost_device_not_an_empty_result(build: Build, gpu: HostGpu) -> None:
    detector = build(deadline_s=0.02)
    detector.submit([frame(scene(0))])
    gpu.hangs = True
    with pytest.raises(DeviceLost, match=r"no result within 0\.02 s"):
        detector.collect()
    detector.close()
    assert not gpu.closed


def test_detector_close_waits_for_the_batches_under_way(build: Build, gpu: HostGpu) -> None:
    detector = build()
    detector.submit([frame(scene(0))])
    detector.submit([frame(scene(1))])
    detector.close()
    detector.close()
    assert gpu.closed and gpu.calls.count("close") == 1


def test_detector_close_lets_contexts_go_before_the_engine_frees_their_memory(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = build()
    held: list[int] = []
    monkeypatch.setattr(detector._engine, "close", lambda: held.append(len(detector.programs)))
    detector.close()
    assert held == [0]


def test_detector_engine_that_gives_nan_is_refused_at_the_start(build: Build) -> None:
    with pytest.raises(DataError, match="p4 holds NaN"):
        build(spoil=float("nan"))


def test_detector_nan_from_a_running_engine_is_never_a_detection(build: Build) -> None:
    detector = build(in_engine=True, spoil=float("nan"))
    assert len(detect(detector, [frame(scene(1))])[0]) == 0


def test_detector_engine_of_another_model_is_refused(gpu: HostGpu, bundle: Bundle, tmp_path: Path) -> None:
    other = Bundle.open(write_bundle(tmp_path / "other", input_wh=(256, 256)))
    engine = HostEngine(gpu, other.read(MODEL), other.manifest)
    with pytest.raises(BundleMismatch, match=r"takes images float32 \[-1, 3, 256, 256\].*edged-provision build"):
        GpuDetector(gpu, engine, bundle.manifest, thresholds=Thresholds())
