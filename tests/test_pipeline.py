"""Every frame that is taken is published once and given back once, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from edged.core.errors import DetectorError
from edged.core.protocols import Stage
from edged.core.types import Frame, FrameResult
from edged.health import Health
from edged.pipeline import Pipeline
from tests.brokers import wait_for
from tests.fakes import FakeDetector, FakePublisher, FakeSupply, make_frame


def pipeline_of(
    supply: FakeSupply, detector: FakeDetector, publisher: FakePublisher, stages: Sequence[Stage] = ()
) -> Pipeline:
    return Pipeline(supply=supply, detector=detector, sink=publisher, health=Health(), stages=stages)


class Marker:
    """A stage that adds its mark to the result's timings, and looks at the pixels as one may that is not the last."""

    def __init__(self, mark: str, supply: FakeSupply, *, fail_at: int = -1) -> None:
        self._mark, self._supply, self._fail_at = mark, supply, fail_at
        self.seen: list[int] = []
        self.forgotten: list[tuple[str, int]] = []
        self.rests = 0
        self.closed_after: list[int] = []

    def process(self, frame: Frame, result: FrameResult) -> FrameResult:
        assert frame.meta is result.meta
        assert any(each is frame for each in self._supply.out), "its pixels went back already"
        if len(self.seen) == self._fail_at:
            raise DetectorError("the stage is broken")
        self.seen.append(frame.meta.sequence)
        return replace(result, timings={**result.timings, self._mark: float(len(result.timings))})

    def forget(self, camera: str) -> None:
        self.forgotten.append((camera, len(self.seen)))

    def rest(self) -> None:
        self.rests += 1

    def close(self) -> None:
        self.closed_after.append(len(self.seen))


def join(pipeline: Pipeline) -> None:
    pipeline._thread.join(10)
    assert not pipeline.running


@pytest.mark.parametrize("room", [1, 2, 5])
@pytest.mark.parametrize("frames", [0, 1, 7])
def test_pipeline_publishes_every_frame_in_order_and_gives_it_back(room: int, frames: int) -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(frames)])
    detector, publisher = FakeDetector(room=room), FakePublisher()
    pipeline = pipeline_of(supply, detector, publisher)
    pipeline.start()
    join(pipeline)
    assert [result.meta.sequence for result in publisher.results] == list(range(frames))
    assert (supply.out, supply.released) == ([], frames)
    assert detector.closed
    assert pipeline.failure is None


def test_pipeline_keeps_the_detector_full_while_frames_wait() -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(20)])
    detector = FakeDetector(room=3)
    pipeline = pipeline_of(supply, detector, FakePublisher())
    pipeline.start()
    join(pipeline)
    assert detector.largest_load == 3


def test_pipeline_refills_the_detector_before_it_publishes() -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(6)])
    detector = FakeDetector(room=2)
    loads: list[int] = []
    publisher = FakePublisher(on_publish=lambda _: loads.append(2 - detector.room))
    pipeline = pipeline_of(supply, detector, publisher)
    pipeline.start()
    join(pipeline)
    assert loads[0] == 2


def test_pipeline_keeps_a_failure_for_its_owner_and_gives_frames_back() -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(10)])
    detector, publisher = FakeDetector(fail_at=2), FakePublisher()
    pipeline = pipeline_of(supply, detector, publisher)
    pipeline.start()
    join(pipeline)
    assert isinstance(pipeline.failure, DetectorError)
    assert supply.out == []
    assert detector.closed


def test_pipeline_stops_between_frames_and_publishes_what_is_under_way() -> None:
    supply = FakeSupply([make_frame()], endless=True)
    publisher = FakePublisher()
    pipeline = pipeline_of(supply, FakeDetector(), publisher)
    pipeline.start()
    assert pipeline.stop(timeout_s=5)
    assert supply.out == []
    assert len(publisher.results) == supply.released


def test_pipeline_says_so_when_an_inference_hangs() -> None:
    release = threading.Event()
    supply = FakeSupply([make_frame()], endless=True)
    pipeline = pipeline_of(supply, FakeDetector(hang=release), FakePublisher())
    pipeline.start()
    wait_for(lambda: supply.out, what="a frame under way")
    assert not pipeline.stop(timeout_s=0.05)
    release.set()
    join(pipeline)


def test_pipeline_swaps_the_detector_between_results() -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(50)])
    old, new = FakeDetector(), FakeDetector()
    order: list[object] = []
    publisher = FakePublisher(on_publish=lambda result: order.append(result.meta.sequence))
    pipeline = pipeline_of(supply, old, publisher)
    pipeline.replace_detector(new, on_swap=lambda: order.append("swap"))
    pipeline.start()
    join(pipeline)
    numbers = [each for each in order if each != "swap"]
    assert numbers == list(range(50))
    assert order.count("swap") == 1
    assert old.closed and new.closed
    assert new.collected > 0


def test_pipeline_closes_every_detector_that_it_was_given() -> None:
    frames = [make_frame(sequence=n) for n in range(50)]
    old, unused, new, late = (FakeDetector() for _ in range(4))
    swaps: list[str] = []
    pipeline = pipeline_of(FakeSupply(frames), old, FakePublisher())
    pipeline.replace_detector(unused, on_swap=lambda: swaps.append("unused"))
    pipeline.replace_detector(new, on_swap=lambda: swaps.append("new"))
    assert [each.closed for each in (unused, new)] == [True, False]
    pipeline.start()
    join(pipeline)
    pipeline.replace_detector(late, on_swap=lambda: swaps.append("late"))
    assert swaps == ["new"]
    assert new.collected > 0
    assert all(each.closed for each in (old, unused, new, late))


def test_pipeline_detectors_replaced_at_any_moment_are_all_closed() -> None:
    pipeline = pipeline_of(
        FakeSupply([make_frame(sequence=n) for n in range(300)], endless=True), FakeDetector(), FakePublisher()
    )
    pipeline.start()
    given = [FakeDetector() for _ in range(300)]
    swaps: list[int] = []
    for number, detector in enumerate(given):
        pipeline.replace_detector(detector, on_swap=lambda n=number: swaps.append(n))  # type: ignore[misc]
    assert pipeline.stop(timeout_s=5)
    assert pipeline.failure is None
    assert all(detector.closed for detector in given)
    assert swaps == sorted(swaps)


@pytest.mark.parametrize("room", [1, 3])
def test_pipeline_shows_each_frame_to_every_stage_in_order_while_its_pixels_are_valid(room: int) -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(7)])
    first, second = Marker("first", supply), Marker("second", supply)
    publisher = FakePublisher()
    pipeline = pipeline_of(supply, FakeDetector(room=room), publisher, stages=[first, second])
    pipeline.start()
    join(pipeline)
    assert pipeline.failure is None
    assert first.seen == second.seen == list(range(7))
    assert all((each.timings["first"], each.timings["second"]) == (3, 4) for each in publisher.results)
    assert (supply.out, supply.released) == ([], 7)


def test_pipeline_refills_the_detector_before_the_stages_look() -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(6)])
    detector = FakeDetector(room=2)
    loads: list[int] = []

    class Looking(Marker):
        def process(self, frame: Frame, result: FrameResult) -> FrameResult:
            loads.append(2 - detector.room)
            return super().process(frame, result)

    pipeline = pipeline_of(supply, detector, FakePublisher(), stages=[Looking("mark", supply)])
    pipeline.start()
    join(pipeline)
    assert loads[0] == 2


def test_pipeline_lets_stages_rest_with_and_without_frames_and_closes_them_last() -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(5)], endless=True)
    detector, publisher = FakeDetector(room=2), FakePublisher()
    marker = Marker("mark", supply)
    pipeline = pipeline_of(supply, detector, publisher, stages=[marker])
    pipeline.start()
    wait_for(lambda: len(marker.seen) == 5)
    rests = marker.rests
    wait_for(lambda: marker.rests > rests, what="a rest without frames")
    assert pipeline.stop(timeout_s=5)
    assert marker.closed_after == [5]


def test_pipeline_closes_its_stages_when_the_detector_fails() -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(10)])
    marker = Marker("mark", supply)
    pipeline = pipeline_of(supply, FakeDetector(room=2, fail_at=2), FakePublisher(), stages=[marker])
    pipeline.start()
    join(pipeline)
    assert marker.closed_after == [len(marker.seen)]


def test_pipeline_gives_every_frame_back_once_when_a_stage_fails() -> None:
    supply = FakeSupply([make_frame(sequence=n) for n in range(10)])
    detector, publisher = FakeDetector(room=3), FakePublisher()
    pipeline = pipeline_of(supply, detector, publisher, stages=[Marker("mark", supply, fail_at=4)])
    pipeline.start()
    join(pipeline)
    assert str(pipeline.failure) == "the stage is broken"
    assert supply.out == []
    assert len(publisher.results) == 4
    assert detector.closed


def test_pipeline_stages_forget_a_camera_after_its_last_frame() -> None:
    supply = FakeSupply([make_frame("gate", sequence=n) for n in range(3)], endless=True)
    stage = Marker("mark", supply)
    pipeline = pipeline_of(supply, FakeDetector(), FakePublisher(), stages=[stage])
    pipeline.forget(["yard"])
    pipeline.start()
    wait_for(lambda: len(stage.seen) == 3, what="three frames")
    pipeline.forget(["gate"])
    wait_for(lambda: len(stage.forgotten) == 2, what="a camera forgotten")
    assert pipeline.stop(timeout_s=5)
    assert stage.forgotten == [("yard", 0), ("gate", 3)]
