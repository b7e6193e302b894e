"""What looking costs the daemon: `python -m tests.view.load`. Prints medians of several rounds, each window of looking
beside the mean of the windows before and after it in which nobody looks: machines drift.

Cameras of 720 lines and 30 frames a second before the model that ships. With six of them two cores have nothing to
spare, so that whatever looking takes is missing; with two they have. Viewers ask for one picture after the other, as
the page does; slow ones ask, and read nothing. As in the service the page's program is nice; the viewers, in real life
other machines, are nicer still.
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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


def rate(view: View, seconds: float) -> float:
    """Frames a second over so long."""
    time.sleep(SETTLE_S)
    before = frames_of(view)
    time.sleep(seconds)
    after = frames_of(view)
    return (after[1] - before[1]) / (after[0] - before[0])


@contextmanager
def viewers(view: View, number: int, cameras: int) -> Iterator[None]:
    """So many that look."""
    place = urlsplit(view.url)
    command = ["nice", "-n", "19", sys.executable, "-c", VIEWER, place.hostname or "", str(place.port), str(number)]
    command.append(str(cameras))
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def slow_viewers(view: View, number: int) -> Iterator[None]:
    """So many that ask and read nothing."""
    place = urlsplit(view.url)
    with ExitStack() as held:
        for one in range(number):
            connection = held.enter_context(socket.create_connection((place.hostname or "", place.port or 0)))
            path = ("/api/stream", "/api/cameras/cam0/picture?side=1920")[one % 2]
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield


def rates(cameras: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Frames a second with nobody; for each kind of looking the share of them that is left."""
    found: dict[str, list[float]] = {"nobody": [], "20 viewers": [], "200 slow viewers": []}
    with running(cameras, feed=True) as box, View(box.folder, socket_of(box)) as view:
        assert view.process is not None
        os.setpriority(os.PRIO_PROCESS, view.process.pid, NICE)
        wait_for(lambda: view.now()["statistics"], timeout_s=30, what="figures")
        before = rate(view, seconds)
        for _ in range(rounds):
            for name, looking in (
                ("20 viewers", viewers(view, 20, cameras)),
                ("200 slow viewers", slow_viewers(view, 200)),
            ):
                with looking:
                    now = rate(view, seconds)
                after = rate(view, seconds)
                found[name].append(now / ((before + after) / 2))
                found["nobody"].append(after)
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
    found = rates(asked.cameras, asked.rounds, asked.seconds)
    nobody = found.pop("nobody")
    print(f"{'nobody':18s} {statistics.median(nobody):6.1f} frames/s   ({', '.join(f'{one:.1f}' for one in nobody)})")
    for name, each in found.items():
        print(f"{name:18s} {statistics.median(each):6.3f} of nobody's   ({', '.join(f'{one:.3f}' for one in each)})")
    memory = memory_mb(asked.cameras, max(1, asked.rounds // 3))
    for feed, each in memory.items():
        all_of_them = ", ".join(f"{one:.1f}" for one in each)
        print(f"feed {'on ' if feed else 'off'}  {statistics.median(each):6.1f} MiB   ({all_of_them})")


if __name__ == "__main__":
    main()
