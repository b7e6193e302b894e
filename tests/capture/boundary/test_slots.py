"""Shared memory that a child cannot turn against the supervisor."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest

from edged.capture.boundary.slots import SlotArea, SlotWindow


def test_slots_child_writes_what_the_supervisor_reads() -> None:
    area = SlotArea(number=0, count=3, picture_bytes=20 * 10 * 3)
    window = SlotWindow(os.dup(area.descriptor), area.layout)
    window.view(1, (20, 10))[:] = 7
    assert (area.view(1, (20, 10)) == 7).all()
    assert not area.view(0, (20, 10)).any() and not area.view(2, (20, 10)).any()
    assert not area.view(1, (20, 10)).flags.writeable
    area.close_descriptor()


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_slots_child_cannot_change_the_size(size: int) -> None:
    area = SlotArea(number=0, count=3, picture_bytes=5000)
    with pytest.raises(PermissionError):
        os.ftruncate(area.descriptor, size)
    area.close_descriptor()


def test_slots_start_on_pages() -> None:
    area = SlotArea(number=0, count=4, picture_bytes=5000)
    assert area.layout.slot_bytes % mmap.PAGESIZE == 0 and area.layout.slot_bytes >= 5000
    assert area.address % mmap.PAGESIZE == 0
    assert area.length == 4 * area.layout.slot_bytes
    area.close_descriptor()
    area.close_descriptor()


def test_slots_views_keep_the_memory_alive() -> None:
    area = SlotArea(number=0, count=3, picture_bytes=300)
    view = area.view(0, (10, 10))
    area.close_descriptor()
    del area
    assert int(np.sum(view)) == 0


def test_slots_views_of_many_sizes_stay_bounded() -> None:
    area = SlotArea(number=0, count=3, picture_bytes=100 * 100 * 3)
    for side in range(1, 100):
        assert area.view(0, (side, side)).shape == (side, side, 3)
    assert len(area._views) <= 4 * 3 + 1
    area.close_descriptor()
