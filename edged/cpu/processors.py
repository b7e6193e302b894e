"""Which processors this process may run on, and keeping a thread to one of them (sched_setaffinity(2))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def available() -> list[int]:
    """Their numbers, as the kernel counts them, rising."""
    return sorted(os.sched_getaffinity(0))


def available_cores() -> int:
    """How many they are."""
    return len(available())


@contextmanager
def keep_to(processor: int) -> Iterator[None]:
    """Let the calling thread run on this processor only; anywhere, where the kernel refuses: it may be ours no more."""
    before = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)
