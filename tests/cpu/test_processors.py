"""A thread keeps to one processor within the block, and to those it had before afterwards."""

from __future__ import annotations

import os

import pytest

from edged.cpu.processors import available, available_cores, keep_to


def test_the_calling_thread_keeps_to_one_processor_within_the_block() -> None:
    before = os.sched_getaffinity(0)
    with keep_to(available()[-1]):
        assert os.sched_getaffinity(0) == {available()[-1]}
    assert os.sched_getaffinity(0) == before
    assert available_cores() == len(before)


def test_a_processor_that_is_not_ours_is_left_alone() -> None:
    before = os.sched_getaffinity(0)
    with keep_to(1023):
        assert os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(0) == before


def test_an_error_within_the_block_gives_the_processors_back() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ValueError, match="within"), keep_to(min(before)):
        raise ValueError("within")
    assert os.sched_getaffinity(0) == before
