"""The GPU detector's thresholds while it runs: as on the CPU, and what they cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edged.core.bundle import Bundle
from edged.core.errors import DetectorError
from edged.core.limits import MAX_DETECTIONS, MOST_DETECTIONS
from edged.core.types import Thresholds
from tests.gpu.detecting import Build, detect, frame, on_cpu, require_equal, scene
from tests.gpu.host_gpu import HostGpu


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


def test_detector_limit_raised_at_run_time_holds_as_on_the_cpu(build: Build, bundle: Bundle) -> None:
    detector = build()
    frames = [frame(scene(8)), frame(scene(9))]
    low = Thresholds(confidence=1e-4, iou=1.0, max_detections=2)
    detector.thresholds = low
    require_equal(detect(detector, frames), on_cpu(bundle, frames, low))
    high = replace(low, max_detections=MOST_DETECTIONS)
    detector.thresholds = high
    wanted = on_cpu(bundle, frames, high)
    assert all(MAX_DETECTIONS < len(one) < MOST_DETECTIONS for one in wanted)
    require_equal(detect(detector, frames), wanted)


def test_detector_limit_replaced_while_batches_are_under_way_is_each_batchs_own(build: Build, bundle: Bundle) -> None:
    detector = build()
    frames = [frame(scene(8)), frame(scene(9))]
    limits = [Thresholds(confidence=1e-4, iou=1.0, max_detections=most) for most in (500, 3)]
    for one in limits:
        detector.thresholds = one
        detector.submit(frames)
    for one in limits:
        require_equal([result.detections for result in detector.collect()], on_cpu(bundle, frames, one))


def test_detector_copies_back_what_the_limit_in_force_allows(
    build: Build, gpu: HostGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = build(max_batch=3)
    sizes: list[int] = []
    download = gpu.download

    def noted(host: int, device: int, nbytes: int, stream: int) -> None:
        sizes.append(nbytes)
        download(host, device, nbytes, stream)

    monkeypatch.setattr(gpu, "download", noted)
    for most in (1, 300, MOST_DETECTIONS):
        detector.thresholds = Thresholds(max_detections=most)
        detect(detector, [frame(scene(k)) for k in range(2)])
    assert sizes == [256 + 2 * most * 24 for most in (1, 300, MOST_DETECTIONS)]


def test_detector_limit_beyond_its_room_is_refused_and_the_old_one_stays(build: Build) -> None:
    detector = build(thresholds=Thresholds(max_detections=1200))
    detector.thresholds = before = Thresholds(max_detections=1100)
    with pytest.raises(DetectorError, match=r"max_detections of 1201: memory is for 1200 per frame; set it where"):
        detector.thresholds = Thresholds(max_detections=1201)
    assert detector.thresholds is before
