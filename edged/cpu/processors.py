"""The processors of this machine: name, those that this process may use, pinning a thread (sched_setaffinity(2))."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress

INTEGER_INSTRUCTIONS = frozenset({"avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})


def available() -> list[int]:
    """Numbers of the processors that this process may use, from 0, ascending."""
    return sorted(os.sched_getaffinity(0))


def available_cores() -> int:
    """Number of processors that this process may use."""
    return len(available())


@contextmanager
def keep_to(processor: int) -> Iterator[None]:
    """Pin the calling thread to a processor in this context; no effect where the kernel refuses."""
    before = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)


def processor_name(cpuinfo: str = "/proc/cpuinfo") -> str:
    """The processor's model name and the instructions that INT8's speed depends on; the same after every start.

    Args:
        cpuinfo: proc_cpuinfo(5).
    """
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as file:
            lines = [line.partition(":") for line in file]
    except OSError:
        lines = []
    facts: dict[str, str] = {}
    for key, _, value in lines:
        facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or facts.get("CPU part") or platform.machine()
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return " ".join([name, *sorted(flags & INTEGER_INSTRUCTIONS)])
