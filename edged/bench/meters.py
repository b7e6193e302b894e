"""CPU seconds, memory and threads of a tree of processes, from the kernel (proc(5), clock_getcpuclockid(3)).

RUSAGE_CHILDREN counts only children that have ended; cameras run as long as the daemon, so each process is read.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_SLOTS = "memfd:edged-slots"
# Fields of /proc/PID/stat after the name in parentheses, counted from the state.
_PARENT, _REAPED_USER, _REAPED_SYSTEM = 1, 13, 14
_IDLE_FIELDS = (3, 4)  # of /proc/stat: idle, waiting for disks
_STAT_FIELDS = 8  # up to `steal`; guests are counted in user time already


def process_tree(root: int) -> list[int]:
    """`root` and all its living descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    for pid in _all_pids():
        fields = _stat(pid)
        if fields:
            children[int(fields[_PARENT])].append(pid)
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def tree_cpu_s(root: int) -> float:
    """CPU seconds, user and system, of `root`, its descendants, and those of them that have ended."""
    return sum(_cpu_s(pid) + _reaped_s(pid) for pid in process_tree(root))


def machine_busy_s() -> float:
    """CPU seconds that all processes have used on this machine since it started."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(each) for each in file.readline().split()[1 : 1 + _STAT_FIELDS]]
    return (sum(ticks) - sum(ticks[field] for field in _IDLE_FIELDS)) / _TICKS


def thread_cpu_s(ident: int) -> float:
    """CPU seconds of a thread of this process, by `threading.Thread.ident`."""
    return time.clock_gettime(time.pthread_getcpuclockid(ident))


@dataclass(frozen=True, slots=True)
class TreeMemory:
    """Memory of a tree of processes, MiB.

    Attributes:
        peak_mb: most that its root ever had resident.
        shared_fairly_mb: proportional set size: shared pages are divided among those who map them.
        private_mb: pages that only one process maps, without frame slots.
        slots_mb: frame slots, once.
        threads: in all processes.
    """

    peak_mb: float
    shared_fairly_mb: float
    private_mb: float
    slots_mb: float
    threads: int


def tree_memory(root: int) -> TreeMemory:
    """Memory and threads of `root` and its descendants."""
    totals: dict[str, float] = defaultdict(float)
    for pid in process_tree(root):
        for in_slots, key, kilobytes in _mappings(pid):
            where = "slots" if in_slots else "memory"
            totals[f"{where} {key}"] += kilobytes
        totals["threads"] += _status(pid, "Threads:")
    memory_pss, slots_pss = totals["memory Pss:"], totals["slots Pss:"]
    return TreeMemory(
        peak_mb=_status(root, "VmHWM:") / 1024,
        shared_fairly_mb=(memory_pss + slots_pss) / 1024,
        private_mb=(totals["memory Private_Clean:"] + totals["memory Private_Dirty:"]) / 1024,
        slots_mb=slots_pss / 1024,
        threads=int(totals["threads"]),
    )


def _mappings(pid: int) -> Iterator[tuple[bool, str, int]]:
    """For each figure of each mapping: whether it is of frame slots, its key, kilobytes."""
    in_slots = False
    for line in _lines(pid, "smaps"):
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):
            in_slots = _SLOTS in rest
        elif key in {"Pss:", "Private_Clean:", "Private_Dirty:"}:
            yield in_slots, key, int(rest.split()[0])


def _status(pid: int, key: str) -> int:
    return next((int(line.split()[1]) for line in _lines(pid, "status") if line.startswith(key)), 0)


def _lines(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ProcessLookupError):  # it ended meanwhile
        return []


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]


def _stat(pid: int) -> list[str]:
    text = "\n".join(_lines(pid, "stat"))
    return text.rpartition(")")[2].split()  # the name may hold anything


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process, from its nanosecond clock; 0 where it has ended."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        return 0.0
    try:
        return time.clock_gettime(clock.value)
    except OSError:
        return 0.0


def _reaped_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[_REAPED_USER]) + int(fields[_REAPED_SYSTEM])) / _TICKS if fields else 0.0
