"""Which host memory the device may read directly, and the room that frames take on the device."""

from __future__ import annotations

import numpy as np
import pytest

from edged.core.errors import DetectorError
from edged.gpu.errors import DeviceLost
from edged.gpu.slots import PinnedRanges, Slot
from tests.gpu.detecting import frame
from tests.gpu.host_engine import array_at
from tests.gpu.host_gpu import HostGpu

REFUSED = DetectorError("cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2)")


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


class Uploads:
    """A slot, and frames of given widths sent through it."""

    def __init__(self, gpu: HostGpu) -> None:
        self.gpu, self.slot = gpu, Slot(gpu, header_bytes=256, results_bytes=256)
        self._pinned, self._stream = PinnedRanges(gpu), gpu.make_stream()

    def send(self, *widths: int) -> None:
        frames = [frame(np.full((256, width, 3), width % 251, np.uint8)) for width in widths]
        addresses = self.slot.upload(frames, self._pinned, self._stream)
        self.gpu.synchronize(self._stream)
        for one, address in zip(frames, addresses, strict=True):
            np.testing.assert_array_equal(array_at(address, one.pixels.shape, "uint8"), one.pixels)

    def growths(self) -> int:
        return self.gpu.calls.count("allocate")


def test_slot_takes_what_the_first_batch_needs_and_then_a_quarter_more_at_least() -> None:
    gpu = HostGpu()
    uploads, row = Uploads(gpu), 256 * 3
    assert gpu.device_bytes == 0
    uploads.send(100)
    assert gpu.device_bytes == 100 * row
    uploads.send(101)
    assert gpu.device_bytes == 125 * row
    uploads.send(100, 100)
    assert gpu.device_bytes == 200 * row


def test_slot_of_cameras_of_many_sizes_that_take_turns_stops_growing() -> None:
    gpu = HostGpu()
    uploads, rng = Uploads(gpu), np.random.default_rng(0)
    cameras = rng.integers(16, 256, 12)
    for _ in range(100):
        uploads.send(*rng.permutation(cameras)[: rng.integers(1, 9)].tolist())
    most = int(np.sort(cameras)[-8:].sum()) * 256 * 3
    assert gpu.device_bytes <= most * 1.25
    assert uploads.growths() <= 1 + np.log(8 * 256 / 16) / np.log(1.25)
    uploads.send(*np.sort(cameras)[-8:].tolist())
    gpu.calls.clear()
    for _ in range(100):
        uploads.send(*rng.permutation(cameras)[: rng.integers(1, 9)].tolist())
    assert set(gpu.calls) == {"upload", "synchronize"}


def test_slot_gives_back_before_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = HostGpu()
    uploads = Uploads(gpu)
    uploads.send(100)
    held: list[int] = []
    allocate = gpu.allocate

    def noted(nbytes: int) -> int:
        held.append(gpu.device_bytes)
        return allocate(nbytes)

    monkeypatch.setattr(gpu, "allocate", noted)
    uploads.send(200)
    assert held == [0]


def test_slot_makes_do_with_what_the_batch_needs_where_no_more_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = HostGpu()
    uploads, row = Uploads(gpu), 256 * 3
    uploads.send(100)
    allocate = gpu.allocate

    def scarce(nbytes: int) -> int:
        if nbytes > 110 * row:
            raise REFUSED
        return allocate(nbytes)

    monkeypatch.setattr(gpu, "allocate", scarce)
    uploads.send(110)
    assert gpu.device_bytes == 110 * row
    with pytest.raises(DetectorError, match="OUT_OF_MEMORY"):
        uploads.send(111)
    assert gpu.device_bytes == 0
    uploads.send(100)
    assert gpu.device_bytes == 100 * row
