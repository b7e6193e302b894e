"""The GPU detector's memory for frames: how much it takes, when, and what it reads in place."""

from __future__ import annotations

import numpy as np
import pytest

from edged.core.bundle import Bundle
from edged.core.errors import DetectorError
from edged.gpu.detector import RING
from edged.gpu.errors import DeviceLost
from tests.gpu.detecting import Build, detect, frame, on_cpu, require_equal, scene
from tests.gpu.host_gpu import HostGpu

LOST = DeviceLost("cuLaunchKernel failed: CUDA_ERROR_ILLEGAL_ADDRESS (700)")
REFUSED = DetectorError("cuStreamBeginCapture failed: CUDA_ERROR_NOT_SUPPORTED (801)")


def test_detector_takes_memory_for_the_frames_that_come_not_for_those_that_could(build: Build, gpu: HostGpu) -> None:
    detector, picture = build(max_batch=16), 1280 * 720 * 3
    before = gpu.device_bytes
    for _ in range(2 * RING):
        detect(detector, [frame(scene(0, (1280, 720)))])
    assert RING * picture - 256 <= gpu.device_bytes - before <= RING * picture  # less what the warm-up held


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
