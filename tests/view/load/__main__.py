"""What looking costs the daemon: `python -m tests.view.load`. Prints medians of several rounds, each window of looking
beside the mean of the windows before and after it in which nobody looks: machines drift.

Cameras of 720 lines and 30 frames a second before the model that ships. With six of them two cores have nothing to
spare, so that whatever looking takes is missing; with two they have. Viewers ask for one picture after the other, as
the page does; slow ones ask, and read nothing. As in the service the page's program gives way; the viewers, in real
life other machines, take only what nobody else wants.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.boxes import Box
from tests.brokers import Broker, free_port, wait_for
from tests.faults.processes import resident_mb
from tests.view.looking import View, socket_of

MODEL = Path(__file__).parents[3] / "edged" / "demo" / "person"
CAMERA = {"source": "test:?size=1280x720&fps=30", "frozen_after_s": 0}
EXTRA = f'[model]\nbundle = "{MODEL}"\n[publish]\nstats_interval_s = 0.5\ndurable = "none"\n[feed]\nenabled = '
SETTLE_S = 3.0
NICE = 19  # of the page's program, as in its unit
VIEWER = """
import http.client, sys, threading
host, port, number, cameras = sys.argv[1], *map(int, sys.argv[2:])
def look(camera):
    connection, after = http.client.HTTPConnection(host, port), ""
    while True:
        connection.request("GET", f"/api/cameras/{camera}/picture?side=960&after={after}")
        body = connection.getresponse().read()
        if body:
            after = body[4:].partition(b'"sequence":')[2].partition(b",")[0].decode()
for one in range(number):
    threading.Thread(target=look, args=(f"cam{one % cameras}",), daemon=True).start()
threading.Event().wait()
"""


@contextmanager
def running(cameras: int, *, feed: bool) -> Iterator[Box]:
    """A daemon at work."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        broker = Broker(folder / "broker", free_port()).start()
        named = {f"cam{number}": CAMERA for number in range(cameras)}
        with Box(folder, broker.port, named, extra=EXTRA + str(feed).lower(), device="load") as box:
            box.wait_log(f"camera cam{cameras - 1}: online", timeout_s=60)
            yield box
        broker.kill()


def frames_of(view: View) -> tuple[float, int]:
    """When, and how many frames were looked at by then."""
    said = view.now()["statistics"]
    return said["uptime_s"], said["frames"]


def give_way(pid: int) -> None:
    """Run all threads of a process as the unit of the page has it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), NICE)
        os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))


def processor_s(pid: int) -> float:
    """Processor time of a process so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Window:
    """What was measured over some seconds.

    Attributes:
        rate: frames a second.
        cores: processor time a second of the daemon's process, the page's program, and those that look, if that is one.
    """

    rate: float
    cores: tuple[float, ...]


def measured(view: View, seconds: float, pids: Sequence[int]) -> Window:
    """Look at so many seconds."""
    time.sleep(SETTLE_S)
    before, spent = frames_of(view), [processor_s(pid) for pid in pids]
    began_s = time.monotonic()
    time.sleep(seconds)
    passed_s, spent_then = time.monotonic() - began_s, [processor_s(pid) for pid in pids]
    after = frames_of(view)
    cores = tuple((later - earlier) / passed_s for earlier, later in zip(spent, spent_then, strict=True))
    return Window((after[1] - before[1]) / (after[0] - before[0]), cores)


@contextmanager
def viewers(view: View, number: int, cameras: int) -> Iterator[int]:
    """So many that look; the process that they are."""
    place = urlsplit(view.url)
    command = ["chrt", "--idle", "0", sys.executable, "-c", VIEWER, place.hostname or "", str(place.port), str(number)]
    command.append(str(cameras))
    process = subprocess.Popen(command)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextmanager
def slow_viewers(view: View, number: int) -> Iterator[int]:
    """So many that ask and read nothing."""
    place = urlsplit(view.url)
    with ExitStack() as held:
        for one in range(number):
            connection = held.enter_context(socket.create_connection((place.hostname or "", place.port or 0)))
            path = ("/api/stream", "/api/cameras/cam0/picture?side=1920")[one % 2]
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield 0


def windows(cameras: int, rounds: int, seconds: float) -> dict[str, list[tuple[Window, float]]]:
    """What was measured with nobody and with each kind of looking, each with the rate around it with nobody."""
    found: dict[str, list[tuple[Window, float]]] = {"nobody": [], "20 viewers": [], "200 slow viewers": []}
    with running(cameras, feed=True) as box, View(box.folder, socket_of(box)) as view:
        assert view.process is not None and box.process is not None
        pids = [box.process.pid, view.process.pid]
        give_way(view.process.pid)
        wait_for(lambda: view.now()["statistics"], timeout_s=30, what="figures")
        before = measured(view, seconds, pids)
        for _ in range(rounds):
            for name, looking in (
                ("20 viewers", viewers(view, 20, cameras)),
                ("200 slow viewers", slow_viewers(view, 200)),
            ):
                with looking as pid:
                    now = measured(view, seconds, [*pids, *([pid] if pid else [])])
                after = measured(view, seconds, pids)
                around = (before.rate + after.rate) / 2
                found[name].append((now, around))
                found["nobody"].append((after, after.rate))
                before = after
    return found


def memory_mb(cameras: int, rounds: int) -> dict[bool, list[float]]:
    """Resident memory of the daemon after ten seconds, with the feed and without, nobody connected."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for feed in (False, True):
            with running(cameras, feed=feed) as box:
                time.sleep(10)
                assert box.process is not None
                found[feed].append(resident_mb(box.process.pid))
    return found


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=6.0)
    asked = parser.parse_args()
    for name, each in windows(asked.cameras, asked.rounds, asked.seconds).items():
        rates = [window.rate for window, _ in each]
        ratios = [window.rate / around for window, around in each]
        cores = [statistics.median(values) for values in zip(*(window.cores for window, _ in each), strict=True)]
        told = ", ".join(f"{who} {value:.3f}" for who, value in zip(("daemon", "page", "viewers"), cores, strict=False))
        share = statistics.median(ratios)
        print(f"{name:18s} {statistics.median(rates):6.1f} frames/s, {share:.3f} of nobody's", end="")
        print(f"; cores: {told}   ({', '.join(f'{one:.3f}' for one in ratios)})")
    memory = memory_mb(asked.cameras, max(1, asked.rounds // 3))
    for feed, resident in memory.items():
        all_of_them = ", ".join(f"{one:.1f}" for one in resident)
        print(f"feed {'on ' if feed else 'off'}  {statistics.median(resident):6.1f} MiB   ({all_of_them})")


if __name__ == "__main__":
    main()
