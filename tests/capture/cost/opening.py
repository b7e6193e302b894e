"""The reader beside OpenCV's VideoCapture, at an RTSP camera: `python -m tests.capture.cost.opening`.

GStreamer's server sends 1920x1080 at 15 frames a second, H.264, a key frame a second. Each reader is a process of its
own that opens the camera, takes frames, loses it when the server is killed, and opens it again and again until the next
frame comes.

- start: from the call that opens to the first frame, seconds.
- memory: private memory of the process after FRAMES frames, MiB, less that of the process with its imports alone.
- recovery: from the moment that the server listens again to the next frame, seconds.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Manager, get_context
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import cv2
import numpy as np

from edged.capture.sources.reader import FrameReader
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError, DataError
from tests.brokers import free_port
from tests.capture.rtsp import rtsp_server

ROUNDS = 5
FRAMES = 45
PAUSE_S = 0.05  # between two attempts
SHOWN = {"size": "width=1920,height=1080", "rate": "framerate=15/1"}
Take = Callable[[], bool]


def ours(source: str) -> tuple[Take, Callable[[], None]]:
    """The reader of a camera's process."""
    reader = FrameReader(CameraSpec(name="cost", source=source, read_timeout_s=2.0))
    into = np.empty((1080, 1920, 3), np.uint8)

    def take() -> bool:
        try:
            if reader.advance() is None:
                return False
            reader.retrieve(into)
        except DataError:
            return True
        except CameraError:
            return False
        return True

    return take, reader.close


def opencv(source: str) -> tuple[Take, Callable[[], None]]:
    """OpenCV's."""
    times = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 4000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 2000, cv2.CAP_PROP_N_THREADS, 1]
    capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, times)
    if not capture.isOpened():
        raise CameraError("not opened")
    into = np.empty((1080, 1920, 3), np.uint8)
    return lambda: capture.read(into)[0], capture.release


READERS: dict[str, Callable[[str], tuple[Take, Callable[[], None]]]] = {"edged": ours, "VideoCapture": opencv}


def lived(name: str, source: str, seen: Event, back: Any) -> tuple[float, float, float]:
    """Start, memory and recovery of one camera. `back` gives the moment when the server listens again."""
    before_mib = private_mib()
    began_s = time.monotonic()
    take, close = READERS[name](source)
    while not take():
        pass
    start_s = time.monotonic() - began_s
    for _ in range(FRAMES):
        take()
    memory_mib = private_mib() - before_mib
    seen.set()
    while take():
        pass
    close()
    while True:
        try:
            take, close = READERS[name](source)
        except CameraError:
            time.sleep(PAUSE_S)
            continue
        if take():
            break
        close()
    recovered_s = time.monotonic() - back.value
    close()
    return start_s, memory_mib, recovered_s


def private_mib() -> float:
    """What this process alone holds."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"Private_\w+: +(\d+) kB", text)) / 1024


def measured(name: str) -> tuple[float, float, float]:
    """`lived`, in a process of its own, with a server that is killed and started again."""
    port = free_port()
    with Manager() as manager, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seen, back = manager.Event(), manager.Value("d", 0.0)
        with rtsp_server(port, **SHOWN) as server:
            life = pool.submit(lived, name, f"rtsp://127.0.0.1:{port}/cam", seen, back)
            seen.wait(60)
            server.send_signal(signal.SIGKILL)
        time.sleep(3)
        with rtsp_server(port, **SHOWN):
            back.value = time.monotonic()
            return life.result(60)


def main() -> None:
    """Print a table in Markdown; medians of ROUNDS, the readers in turn."""
    os.environ |= {"OPENCV_LOG_LEVEL": "OFF", "OPENCV_FFMPEG_LOGLEVEL": "-8"}  # else a line for each attempt
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in READERS}
    for _ in range(ROUNDS):
        for name, lives in found.items():
            lives.append(measured(name))
    sys.stdout.write("| reader | start, s | memory, MiB | recovery, s |\n|---|---|---|---|\n")
    for name, lives in found.items():
        start_s, memory_mib, recovered_s = (median(column) for column in zip(*lives, strict=True))
        sys.stdout.write(f"| {name} | {start_s:.2f} | {memory_mib:.0f} | {recovered_s:.2f} |\n")


if __name__ == "__main__":
    main()
