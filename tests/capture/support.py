"""Real sources for the capture tests: video files, servers that misbehave, a recorder of states."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from edged.capture.cameras import Cameras
from edged.capture.parent.context import CaptureSettings
from edged.capture.spec import CameraSpec
from edged.core.states import CameraState
from edged.core.types import Frame, Pixels

QUICK = CaptureSettings(backoff_first_s=0.1, backoff_max_s=0.4, auth_first_s=2.0)


def numbered_picture(index: int, size_wh: tuple[int, int] = (160, 120)) -> Pixels:
    """A picture whose two greys tell its number, below 64, even after lossy coding."""
    picture = np.full((size_wh[1], size_wh[0], 3), 28 + index // 8 * 24, np.uint8)
    picture[:, size_wh[0] // 2 :] = 28 + index % 8 * 24
    return picture


def number_of(pixels: Pixels) -> int:
    """The number of a `numbered_picture`; coding shifts a grey by a few."""
    half = pixels.shape[1] // 2
    return sum(round((float(side.mean()) - 26) / 24) * weight for side, weight in _halves(pixels, half))


def _halves(pixels: Pixels, half: int) -> tuple[tuple[Pixels, int], tuple[Pixels, int]]:
    return (pixels[:, : half - 16], 8), (pixels[:, half + 16 :], 1)


def write_video(path: Path, frames: int = 20, *, fps: float = 20.0, size_wh: tuple[int, int] = (160, 120)) -> Path:
    """MPEG-4 of numbered pictures, or MJPEG for `.avi`."""
    writer = cv2.VideoWriter(str(path), _code(path), fps, size_wh)
    for index in range(frames):
        writer.write(numbered_picture(index, size_wh))
    writer.release()
    return path


def write_noise_video(path: Path, frames: int = 60, *, still: bool = False) -> Path:
    """Noise that changes from frame to frame, or the same noise all the time."""
    random = np.random.default_rng(3)
    writer = cv2.VideoWriter(str(path), _code(path), 30.0, (320, 240))
    picture = random.integers(0, 256, (240, 320, 3), np.uint8)
    for _ in range(frames):
        writer.write(picture if still else random.integers(0, 256, (240, 320, 3), np.uint8))
    writer.release()
    return path


def _code(path: Path) -> int:
    return cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))


class Recorder:
    """Collects states, as `on_state`."""

    def __init__(self) -> None:
        self.states: list[CameraState] = []
        self._changed = threading.Condition()

    def __call__(self, state: CameraState) -> None:
        with self._changed:
            self.states.append(state)
            self._changed.notify_all()

    def names(self, camera: str) -> list[str]:
        """The states a camera went through, repetitions left out."""
        names = [state.state for state in list(self.states) if state.camera == camera]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    def wait_for(self, camera: str, name: str, *, timeout_s: float = 10.0, after: int = 0) -> CameraState:
        """The first such state beyond the first `after` records; fails after the time-out."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for state in self.states[after:]:
                    if (state.camera, state.state) == (camera, name):
                        return state
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise AssertionError(f"{camera} was not {name} within {timeout_s} s: {self.states}")
                self._changed.wait(left_s)


def take_until(cameras: Cameras, done: Callable[[], bool], *, limit: int = 8, timeout_s: float = 20.0) -> list[Frame]:
    """Take and release until `done`; metadata of the frames (their pixels are gone)."""
    until_s = time.monotonic() + timeout_s
    frames: list[Frame] = []
    while not done():
        if time.monotonic() > until_s:
            raise AssertionError(f"not done within {timeout_s} s: {cameras.states()} {cameras.counters()}")
        taken = cameras.take(limit, timeout_s=0.05)
        frames += taken
        cameras.release(taken)
    return frames


def wait_until(done: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Poll; fails after the time-out."""
    until_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > until_s:
            raise AssertionError(f"not done within {timeout_s} s")
        time.sleep(0.01)


def wait_for_frame(cameras: Cameras, *, timeout_s: float = 10.0) -> Frame:
    """One frame, released at once."""
    frames = cameras.take(1, timeout_s=timeout_s)
    assert frames, f"no frame within {timeout_s} s: {cameras.states()}"
    cameras.release(frames)
    return frames[0]


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def open_descriptors() -> int:
    """Of this process."""
    return len(os.listdir("/proc/self/fd"))


class MjpegHandler(http.server.BaseHTTPRequestHandler):
    """Serves numbered JPEG frames for ever; `size_wh`, `stalled` and `allowed` may be changed while it runs."""

    size_wh: ClassVar[tuple[int, int]] = (160, 120)
    stalled: ClassVar[bool] = False
    hang_up: ClassVar[bool] = False
    authorization: ClassVar[str] = ""
    requests: ClassVar[int] = 0

    def do_GET(self) -> None:
        """One client."""
        kind = type(self)
        kind.requests += 1
        if kind.authorization and self.headers.get("Authorization") != kind.authorization:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        index = 0
        while not self.server.__dict__.get("closing") and not kind.hang_up:
            if not kind.stalled:
                jpeg = cv2.imencode(".jpg", numbered_picture(index % 50, kind.size_wh))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                index += 1
            time.sleep(0.02)
        kind.hang_up = False

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def mjpeg_server(*, port: int = 0) -> Iterator[tuple[int, type[MjpegHandler]]]:
    """A real HTTP server; its port and the handler class whose attributes steer it."""
    handler = type("Handler", (MjpegHandler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port, handler
    finally:
        server.__dict__["closing"] = True
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def dripping_server(first: bytes, drip: bytes, *, every_s: float = 0.2) -> Iterator[int]:
    """Accepts, sends `first`, then `drip` again and again; with both empty it is silent for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    closing = threading.Event()

    def serve() -> None:
        clients: list[socket.socket] = []
        while not closing.is_set():
            try:
                client, _ = listener.accept()
                clients.append(client)
                client.sendall(first)
            except OSError:
                pass
            for client in clients:
                try:
                    client.sendall(drip)
                except OSError:
                    continue
            closing.wait(every_s if drip else 0.01)
        for client in clients:
            client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        closing.set()
        thread.join()
        listener.close()


@contextmanager
def playing_server(portions: Sequence[bytes], *, every_s: float = 0.04, hangs_up: bool = False) -> Iterator[int]:
    """HTTP that plays `portions` at their own pace to each client, from the first on, then falls silent or hangs up."""

    class Handler(MjpegHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            for portion in portions:
                try:
                    self.wfile.write(portion)
                except OSError:
                    return
                if closing.wait(every_s):
                    return
            if not hangs_up:
                closing.wait()

    closing = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def pattern(name: str, query: str = "size=64x48", *, pace: str = "fast") -> CameraSpec:
    """A `test:` camera."""
    return CameraSpec(name=name, source=f"test:?{query}", pace="fast" if pace == "fast" else "realtime", loop=False)
