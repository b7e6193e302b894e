"""Every slot area is pinned by exactly the detector that is in use."""

from __future__ import annotations

from edged.pinning import SlotPins
from tests.fakes import FakeDetector


class PinningDetector:
    def __init__(self) -> None:
        self.pinned: dict[int, int] = {}

    def pin(self, address: int, nbytes: int) -> bool:
        self.pinned[address] = nbytes
        return True

    def unpin(self, address: int) -> None:
        del self.pinned[address]


def test_areas_that_appear_before_and_after_the_detector_are_pinned() -> None:
    pins, detector = SlotPins(), PinningDetector()
    pins.appeared("gate", 4096, 100)
    pins.serve(detector)
    pins.appeared("yard", 8192, 200)
    assert detector.pinned == {4096: 100, 8192: 200}
    pins.vanished("gate", 4096)
    assert detector.pinned == {8192: 200}


def test_another_detector_takes_over_what_exists() -> None:
    pins, first, second = SlotPins(), PinningDetector(), PinningDetector()
    pins.appeared("gate", 4096, 100)
    pins.serve(first)
    pins.serve(second)
    pins.appeared("yard", 8192, 200)
    assert second.pinned == {4096: 100, 8192: 200}
    assert first.pinned == {4096: 100}  # its own close frees them


def test_a_detector_that_pins_nothing_is_left_alone() -> None:
    pins = SlotPins()
    pins.serve(FakeDetector())
    pins.appeared("gate", 4096, 100)
    pins.vanished("gate", 4096)
