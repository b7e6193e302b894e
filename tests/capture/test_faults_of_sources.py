"""Faults of what a camera reads: silent, slow, lost, damaged or frozen sources."""

from __future__ import annotations

import base64
import time
from pathlib import Path

from edged.capture.cameras import Cameras
from edged.capture.parent.context import CaptureSettings
from edged.capture.spec import CameraSpec
from tests.brokers import free_port
from tests.capture.support import (
    QUICK,
    Recorder,
    dripping_server,
    mjpeg_server,
    take_until,
    wait_until,
    write_noise_video,
)


def stream(port: int, *, name: str = "gate", user: str = "", timeout_s: float = 1.0) -> CameraSpec:
    """A camera at a server of ours."""
    return CameraSpec(
        name=name,
        source=f"http://{user}127.0.0.1:{port}/video?token=hidden",
        open_timeout_s=timeout_s,
        read_timeout_s=timeout_s,
        frozen_after_s=0,
    )


def test_fault_silent_server_is_given_up_in_time() -> None:
    recorder = Recorder()
    with dripping_server(b"", b"") as port, Cameras([stream(port)], on_state=recorder, settings=QUICK) as cameras:
        began_s = time.monotonic()
        offline = recorder.wait_for("gate", "offline", timeout_s=8)
        took_s = time.monotonic() - began_s
        assert cameras.states()["gate"].state == "offline"
    assert took_s < 5
    assert "no answer within 1.0 s" in offline.reason or "did not open within 1 s" in offline.reason
    assert "hidden" not in str(recorder.states)


def test_fault_dripping_server_is_given_up_in_time() -> None:
    recorder = Recorder()
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    with dripping_server(head, b"x") as port, Cameras([stream(port)], on_state=recorder, settings=QUICK):
        began_s = time.monotonic()
        recorder.wait_for("gate", "offline", timeout_s=8)
        assert time.monotonic() - began_s < 5


def test_fault_refused_port_names_the_cause() -> None:
    recorder = Recorder()
    with Cameras([stream(free_port())], on_state=recorder, settings=QUICK):
        offline = recorder.wait_for("gate", "offline")
    assert "Connection refused" in offline.reason
    assert "hidden" not in offline.reason and "\n" not in offline.reason


def test_fault_stream_plays_stalls_and_returns() -> None:
    recorder = Recorder()
    with mjpeg_server() as (port, server), Cameras([stream(port)], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: cameras.counters()["gate"].taken > 5)
        server.stalled = True
        began_s = time.monotonic()
        recorder.wait_for("gate", "offline", timeout_s=8)
        detected_s = time.monotonic() - began_s
        server.stalled = False
        take_until(cameras, lambda: cameras.counters()["gate"].reconnects == 1)
        assert cameras.counters()["gate"].reconnects == cameras.states()["gate"].reconnects == 1
    assert detected_s < 5


def test_fault_server_restarts() -> None:
    recorder = Recorder()
    port = free_port()
    with Cameras([stream(port)], on_state=recorder, settings=QUICK) as cameras:
        with mjpeg_server(port=port):
            take_until(cameras, lambda: cameras.counters()["gate"].taken > 5)
        recorder.wait_for("gate", "offline", after=len(recorder.states))
        with mjpeg_server(port=port):
            take_until(cameras, lambda: cameras.counters()["gate"].reconnects == 1)


def test_fault_wrong_password_is_tried_rarely_and_never_shown() -> None:
    recorder = Recorder()
    settings = CaptureSettings(backoff_first_s=0.1, backoff_max_s=0.2, auth_first_s=60.0)
    with mjpeg_server() as (port, server):
        server.authorization = "Basic " + base64.b64encode(b"joe:right").decode()
        bad, good = stream(port, user="joe:wrong@"), stream(port, name="good", user="joe:right@")
        with Cameras([bad, good], on_state=recorder, settings=settings) as cameras:
            assert "401" in recorder.wait_for("gate", "offline").reason
            recorder.wait_for("good", "online")
            requests = server.requests
            time.sleep(1.0)
            assert server.requests == requests, "no further attempt for a minute"
            shown = f"{recorder.states} {cameras.states()} {bad!r}"
    assert "wrong" not in shown and "joe" not in shown


def test_fault_size_changes_when_the_stream_returns() -> None:
    recorder = Recorder()
    with mjpeg_server() as (port, server), Cameras([stream(port)], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: cameras.counters()["gate"].taken > 3)
        held = cameras.take(1, timeout_s=2.0)
        copy = held[0].pixels.copy()
        server.size_wh = (320, 240)
        server.hang_up = True  # as cameras do when their settings change
        wait_until(lambda: cameras.states()["gate"].size_wh == (320, 240))
        assert (held[0].pixels == copy).all(), "frames of the old size stay valid"
        cameras.release(held)
        frames = take_until(cameras, lambda: cameras.counters()["gate"].taken > 20)
        assert frames[-1].meta.size_wh == (320, 240)
        counters = cameras.counters()["gate"]
    assert counters.captured == counters.taken + sum(counters.dropped.values()) + counters.waiting


def test_fault_corrupt_video_is_counted_and_survived(tmp_path: Path) -> None:
    video = write_noise_video(tmp_path / "v.mp4", 40)
    data = bytearray(video.read_bytes())
    for at in range(len(data) // 4, len(data) // 2, 9973):
        data[at] ^= 0xFF
    video.write_bytes(bytes(data))
    recorder = Recorder()
    with Cameras([CameraSpec(name="file", source=str(video), pace="fast", loop=False)], on_state=recorder) as cameras:
        take_until(cameras, lambda: cameras.ended)
        counters = cameras.counters()["file"]
    assert counters.taken > 20
    assert counters.bad_frames > 0


def test_fault_video_that_breaks_off_is_no_ended_one(tmp_path: Path) -> None:
    video = write_noise_video(tmp_path / "v.avi", 40)
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 4])
    recorder = Recorder()
    with Cameras([CameraSpec(name="file", source=str(video), pace="fast", loop=False)], on_state=recorder) as cameras:
        take_until(cameras, lambda: "offline" in recorder.names("file"))
    assert "announces 40 frames, reading stopped after" in recorder.wait_for("file", "offline").reason


def test_fault_zero_frame_video_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.write_bytes(b"")
    recorder = Recorder()
    with Cameras([CameraSpec(name="file", source=str(path), loop=False)], on_state=recorder, settings=QUICK):
        assert "is empty (0 bytes)" in recorder.wait_for("file", "offline").reason


def test_fault_frozen_picture_is_told_and_its_end_too(tmp_path: Path) -> None:
    still = write_noise_video(tmp_path / "still.avi", still=True)
    moving = write_noise_video(tmp_path / "moving.avi")
    recorder = Recorder()
    specs = [
        CameraSpec(name="still", source=str(still), loop=True, frozen_after_s=1.0),
        CameraSpec(name="moving", source=str(moving), loop=True, frozen_after_s=1.0),
    ]
    with Cameras(specs, on_state=recorder) as cameras:
        take_until(cameras, lambda: "frozen" in recorder.names("still"))
        assert cameras.states()["still"].alive
        take_until(cameras, lambda: cameras.counters()["moving"].taken > 40)
    assert recorder.names("still") == ["opening", "online", "frozen"]
    assert recorder.names("moving") == ["opening", "online"]
