"""Every frame that is taken is published once and given back once, whatever happens in between."""

from __future__ import annotations

import threading

import pytest

from edged.core.errors import DetectorError
from edged.health import Health
from edged.pipeline import Pipeline
from tests.fakes import FakeDetector, FakePublisher, FakeSupply, make_frame


def pipeline_of(supply: FakeSupply, detector: FakeDetector, publisher: FakePublisher) -> Pipeline:
    return Pipeline(supply=supply, detector=detector, publisher=publisher, health=Health())


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
    while not supply.out:
        pass
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
