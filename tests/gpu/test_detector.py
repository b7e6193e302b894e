"""The GPU detector over the real kernels in host memory: equal to the CPU detector, sound on any failure."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import BundleMismatch, DataError, DetectorError
from edged.core.types import Detections, Thresholds
from edged.gpu.detector import RING, GpuDetector
from edged.gpu.errors import DeviceLost
from tests.gpu.detecting import Build, detect, frame, on_cpu, require_equal, scene
from tests.gpu.host_engine import HostContext, HostEngine
from tests.gpu.host_gpu import HostGpu
from tests.handmade import write_bundle

LOST = DeviceLost("cuLaunchKernel failed: CUDA_ERROR_ILLEGAL_ADDRESS (700)")
REFUSED = DetectorError("cuStreamBeginCapture failed: CUDA_ERROR_NOT_SUPPORTED (801)")


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


def test_detector_runs_a_graph_a_batch_size_and_allocates_nothing_a_frame(build: Build, gpu: HostGpu) -> None:
    detector = build(max_batch=3)
    assert detector.graph_batches == {1, 2, 3}
    for _ in range(RING):  # room is made with the largest batch of each slot
        detect(detector, [frame(scene(k)) for k in range(3)])
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


def test_detector_asks_whether_it_can_be_captured_after_a_first_run(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT for RTX compiles its kernels in that run, and only then it knows."""
    real = HostContext.enqueue

    def settle(context: HostContext, stream: int) -> None:
        context.can_be_captured = True
        real(context, stream)

    monkeypatch.setattr(HostContext, "can_be_captured", False)
    monkeypatch.setattr(HostContext, "enqueue", settle)
    assert build(max_batch=2).graph_batches == {1, 2}


def test_detector_without_graphs_enqueues_plainly(
    build: Build, bundle: Bundle, gpu: HostGpu, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.failures["capture"] = REFUSED
    detector = build()
    assert not detector.graph_batches and "without a CUDA graph" in caplog.text
    frames = [frame(scene(k)) for k in range(2)]
    require_equal(detect(detector, frames), on_cpu(bundle, frames))


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
