"""Which host memory the device may read directly."""

from __future__ import annotations

import pytest

from edged.core.errors import DetectorError
from edged.gpu.errors import DeviceLost
from edged.gpu.slots import PinnedRanges
from tests.gpu.host_gpu import HostGpu


def test_pinned_ranges_hold_what_lies_wholly_inside() -> None:
    ranges = PinnedRanges(HostGpu())
    assert ranges.add(4096, 1000)
    assert ranges.holds(4096, 1000) and ranges.holds(5000, 96)
    assert not ranges.holds(5000, 97) and not ranges.holds(4095, 10) and not ranges.holds(6000, 1)
    ranges.remove(4096)
    assert not ranges.holds(4096, 1)


def test_pinned_ranges_remove_of_unknown_memory_is_nothing() -> None:
    gpu = HostGpu()
    PinnedRanges(gpu).remove(4096)
    assert not gpu.calls


def test_pinned_ranges_say_once_that_the_device_refuses(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    gpu = HostGpu()
    gpu.failures["pin"] = DetectorError("cuMemHostRegister failed: CUDA_ERROR_NOT_SUPPORTED (801)")
    ranges = PinnedRanges(gpu)
    assert not ranges.add(4096, 10) and not ranges.add(8192, 10)
    assert caplog.text.count("cannot be pinned") == 1
    assert not ranges.holds(4096, 10)


def test_pinned_ranges_a_lost_device_is_not_a_refusal() -> None:
    gpu = HostGpu()
    gpu.failures["pin"] = DeviceLost("cuMemHostRegister failed: CUDA_ERROR_ILLEGAL_ADDRESS (700)")
    with pytest.raises(DeviceLost):
        PinnedRanges(gpu).add(4096, 10)
