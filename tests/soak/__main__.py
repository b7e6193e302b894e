"""Runs a soak and prints its table; exit code 1 where a frame or message is unaccounted for, or memory grew."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.boxes import Box, write_video
from tests.brokers import Broker, free_port, wait_for
from tests.capture.rtsp import rtsp_server
from tests.capture.support import mjpeg_server
from tests.faults.processes import descendants, open_files, resident_mb, threads
from tests.soak.faults import Faults
from tests.soak.witness import Witness

WARM_UP_S = 45.0
EVERY_S = 12.0
GROWTH_MB = 8.0  # noise of allocators; a leak of a frame a minute is far beyond it
GROWTH_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Holding:
    """What the daemon and its children hold at one moment."""

    at_s: float
    memory_mb: float
    children_mb: float
    files: int
    threads: int
    children: int


def holding(box: Box) -> Holding:
    """Now."""
    assert box.process is not None
    pid, children_mb, count = box.process.pid, 0.0, 0
    for child in descendants(pid):
        with contextlib.suppress(OSError, ValueError):
            children_mb += resident_mb(child)
            count += 1
    return Holding(time.monotonic(), resident_mb(pid), children_mb, open_files(pid), threads(pid), count)


def rtsp_starter(port: int) -> Callable[[], subprocess.Popen[str]] | None:
    """Starts the RTSP camera's server; None where GStreamer's server is not installed."""

    def start() -> subprocess.Popen[str]:
        context = rtsp_server(port)
        process = context.__enter__()  # ended by Faults, which kills it: that is its fault
        running.append(context)  # a context that is collected would end it
        return process

    running: list[Any] = []
    try:
        start().kill()
    except pytest.skip.Exception as exc:
        print(f"no RTSP camera: {exc}", file=sys.stderr)
        return None
    time.sleep(0.5)
    return start


def cameras(folder: Path, *, http: int, rtsp: int) -> dict[str, dict[str, object]]:
    """File, pattern, HTTP and (with a port) RTSP."""
    found: dict[str, dict[str, object]] = {
        "file": {"source": str(write_video(folder / "a.avi", frames=200)), "fps": 5.0},
        "pattern": {"source": "test:?size=640x480&fps=10"},
        "http": {"source": f"http://127.0.0.1:{http}/video", "fps": 5.0},
    }
    if rtsp:
        found["rtsp"] = {"source": f"rtsp://127.0.0.1:{rtsp}/cam", "fps": 5.0}
    return found


def soak(folder: Path, minutes: float) -> bool:
    """Everything once; whether all is accounted for."""
    (folder / "broker").mkdir()
    broker = Broker(folder / "broker", free_port(), settings=(
        "allow_anonymous true", "persistence true", f"persistence_location {folder}/broker/", "autosave_interval 1",
        "max_inflight_messages 0"))  # fmt: skip
    broker.start()
    rtsp_port = free_port()
    start_rtsp = rtsp_starter(rtsp_port)
    witness = Witness(broker.port)
    outbox = json.dumps(str(folder / "outbox"))
    device = f"soak-{os.getpid()}"  # one box a name and machine: tests may run beside us
    box = Box(
        folder,
        broker.port,
        device=device,
        extra="[track]\nlost_s = 2.0\nstationary_s = 2.0\n"
        f'[publish]\ndurable = "all"\noutbox = {outbox}\nstats_interval_s = 2.0',
    )
    with mjpeg_server() as (http_port, mjpeg):
        box.cameras = cameras(folder, http=http_port, rtsp=rtsp_port if start_rtsp else 0)
        faults = Faults(box, broker, mjpeg=mjpeg, rtsp=start_rtsp)
        try:
            with box:
                samples = run(box, faults, minutes)
                faults.end_rtsp()
                code = box.stop()
                wait_for(lambda: witness.stats, what="statistics")
                time.sleep(1)
                final = list(witness.stats.values())[-1]
                drain(box, witness)
        finally:
            faults.end_rtsp()
            witness.close()
            broker.kill()
    return report(minutes, code, faults, final, witness, samples)


def run(box: Box, faults: Faults, minutes: float) -> list[Holding]:
    """Faults without end for so long; what was held meanwhile."""
    time.sleep(WARM_UP_S)
    samples = [holding(box)]
    until = samples[0].at_s + minutes * 60
    next_s = 0.0
    while time.monotonic() < until:
        if time.monotonic() >= next_s:
            faults.next()
            next_s = time.monotonic() + EVERY_S
        time.sleep(3)
        assert box.process is not None and box.process.poll() is None, box.log()[-3000:]
        samples.append(holding(box))
        progress(1 - (until - time.monotonic()) / (minutes * 60))
    time.sleep(WARM_UP_S)  # every camera is back
    return [*samples, holding(box)]


def progress(share: float) -> None:
    """One line on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{min(share, 1.0):4.0%}", end="", file=sys.stderr, flush=True)


def drain(box: Box, witness: Witness) -> None:
    """A life without frames sends what still waits."""
    before = set(witness.stats)
    box.cameras = {"file": {"source": "/nowhere.avi"}}
    box.start()

    def drained() -> bool:
        new = [stats for session, stats in list(witness.stats.items()) if session not in before]
        return bool(new) and new[-1]["publish"]["waiting"] == 0

    wait_for(drained, timeout_s=120, what="an empty outbox")
    time.sleep(2)
    box.stop()


def report(
    minutes: float, code: int, faults: Faults, final: dict[str, Any], witness: Witness, samples: list[Holding]
) -> bool:
    """Print the table; whether it adds up."""
    frames = {name: camera["captured"] for name, camera in final["cameras"].items()}
    print(f"\nsoak of {minutes:g} minutes, {sum(faults.injected.values())} faults, exit code {code}\n")
    print("| camera | frames in | out | dropped | waiting at the end | unaccounted | reconnects |")
    print("|---|---|---|---|---|---|---|")
    missing = 0
    for name, camera in final["cameras"].items():
        dropped = ", ".join(f"{count} {cause}" for cause, count in camera["dropped"].items() if count) or "0"
        rest = camera["captured"] - camera["processed"] - sum(camera["dropped"].values()) - camera["waiting"]
        missing += abs(rest)
        print(f"| {name} | {frames[name]} | {camera['processed']} | {dropped} | {camera['waiting']} | {rest}"
              f" | {camera['reconnects']} |")  # fmt: skip
    heard = len({each for each in witness.sequences if each[0] == final["session"]})
    unheard = final["frames"] - heard
    ok = verdicts(samples)
    print(f"\nprocessed {final['frames']}, heard of by an independent client {heard}, lost {unheard + witness.lost}, "
          f"duplicates {witness.duplicates}, out of order {witness.disordered}, "
          f"dropped by the publisher {final['publish']['dropped'] or 0}, "
          f"broker connects {final['publish']['connects']}")  # fmt: skip
    print(f"{len(witness.starts)} events, {witness.uneven} of them without exactly one start and one end; "
          f"snapshots {final['snapshots']}")  # fmt: skip
    print("faults: " + ", ".join(f"{count} x {name}" for name, count in faults.injected.items()))
    return ok and not (code or missing or unheard or witness.lost or witness.disordered or witness.uneven)


def verdicts(samples: list[Holding]) -> bool:
    """Print what was held at start and end; whether it did not grow."""
    first, last = samples[0], samples[-1]
    quarter = max(len(samples) // 4, 1)
    early = statistics.median(each.memory_mb for each in samples[quarter : 2 * quarter] or samples)
    late = statistics.median(each.memory_mb for each in samples[-quarter:])
    print("\n| held by the daemon | at the start | at the end | most |\n|---|---|---|---|")
    for title, key in (("memory of its own, MB", "memory_mb"), ("memory of the cameras' processes, MB", "children_mb"),
                       ("descriptors", "files"), ("threads", "threads"), ("processes", "children")):  # fmt: skip
        values = [getattr(each, key) for each in samples]
        print(f"| {title} | {getattr(first, key):.0f} | {getattr(last, key):.0f} | {max(values):.0f} |")
    print(f"| median memory, second and last quarter, MB | {early:.1f} | {late:.1f} | |")
    grown = late - early > max(GROWTH_MB, GROWTH_SHARE * early)
    leaked = last.files > first.files + 4 or last.threads > first.threads + 2
    return not (grown or leaked)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # also then nothing is left running
    with tempfile.TemporaryDirectory(prefix="edged-soak-") as folder:
        ok = soak(Path(folder), chosen.minutes)
    print("everything is accounted for" if ok else "FAILED: something is unaccounted for, or memory grew")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
