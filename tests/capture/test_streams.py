"""Real RTSP, from GStreamer's own server: password, stall, restart, a size that changes under way."""

from __future__ import annotations

import os
import signal
import time

import pytest

from edged.capture.cameras import Cameras
from edged.capture.parent.context import CaptureSettings
from edged.capture.spec import CameraSpec
from tests.brokers import free_port
from tests.capture.rtsp import camera, change, rtsp_server
from tests.capture.support import QUICK, Recorder, take_until, wait_for_frame, wait_until


def test_rtsp_plays_stalls_and_returns() -> None:
    recorder, port = Recorder(), free_port()
    with rtsp_server(port) as server, Cameras([camera(port)], on_state=recorder, settings=QUICK) as cameras:
        frame = wait_for_frame(cameras)
        assert frame.meta.size_wh == (320, 240)
        assert cameras.states()["gate"].decoder == "FFMPEG h264, software"
        os.kill(server.pid, signal.SIGSTOP)
        began_s = time.monotonic()
        recorder.wait_for("gate", "offline")
        assert time.monotonic() - began_s < 5
        os.kill(server.pid, signal.SIGCONT)
        take_until(cameras, lambda: cameras.counters()["gate"].reconnects == 1)


def test_rtsp_server_that_returns_is_noticed_long_before_the_pause_is_over() -> None:
    recorder, port = Recorder(), free_port()
    settings = CaptureSettings(backoff_first_s=60.0, backoff_max_s=60.0)
    with Cameras([camera(port)], on_state=recorder, settings=settings) as cameras:
        assert "Connection refused" in recorder.wait_for("gate", "offline").reason
        time.sleep(0.5)
        with rtsp_server(port):
            began_s = time.monotonic()
            take_until(cameras, lambda: cameras.counters()["gate"].taken > 0)
            took_s = time.monotonic() - began_s
    assert took_s < 5, "1 s until the next knock, then the opening"


def test_rtsp_password_right_and_wrong() -> None:
    recorder, port = Recorder(), free_port()
    specs = [camera(port, name="right", user="joe:secret@"), camera(port, name="wrong", user="joe:guessed@")]
    with rtsp_server(port, password="secret"), Cameras(specs, on_state=recorder) as cameras:
        offline = recorder.wait_for("wrong", "offline")
        recorder.wait_for("right", "online")
        time.sleep(2.5)  # well beyond the ordinary first pause
        assert cameras.states()["wrong"].since == offline.since
    assert "401" in offline.reason
    shown = f"{recorder.states}"
    assert "secret" not in shown and "guessed" not in shown


def test_rtsp_size_changes_under_way() -> None:
    recorder, port = Recorder(), free_port()
    with rtsp_server(port) as server, Cameras([camera(port)], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: cameras.counters()["gate"].taken > 5)
        change(server, "width=640,height=480")
        take_until(cameras, lambda: cameras.states()["gate"].size_wh == (640, 480))
        taken = cameras.counters()["gate"].taken
        frames = take_until(cameras, lambda: cameras.counters()["gate"].taken > taken + 5)
        counters = cameras.counters()["gate"]
    assert frames[-1].meta.size_wh == (640, 480)
    assert counters.captured == counters.taken + sum(counters.dropped.values()) + counters.waiting


@pytest.mark.parametrize("jump_s", [-600, 600, 86_400], ids=["back", "forward", "a-day"])
def test_rtsp_clock_of_a_camera_jumps(jump_s: int) -> None:
    recorder, port = Recorder(), free_port()
    with rtsp_server(port) as server, Cameras([camera(port, fps=5.0)], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: cameras.counters()["gate"].taken > 5)
        change(server, f"clock={jump_s}")
        before = cameras.counters()["gate"]
        took_s = seconds_for(cameras, frames=10)
        counters = cameras.counters()["gate"]
    assert counters.reconnects == 0
    assert 1.5 < took_s < 4, "the limit of five frames a second holds by our clock, whatever the camera's does"
    assert counters.bad_frames <= before.bad_frames + 1, "this server sends pictures in parts: one can be torn"


def test_rtsp_rate_changes_under_way() -> None:
    recorder, port = Recorder(), free_port()
    with (
        rtsp_server(port, rate="framerate=2/1", keys=2) as server,
        Cameras([camera(port)], on_state=recorder, settings=QUICK) as cameras,
    ):
        take_until(cameras, lambda: cameras.counters()["gate"].taken > 2)
        change(server, "framerate=30/1")
        assert seconds_for(cameras, frames=30) < 5
        change(server, "framerate=2/1")
        assert seconds_for(cameras, frames=5) > 1
        assert cameras.counters()["gate"].reconnects == 0


def seconds_for(cameras: Cameras, *, frames: int) -> float:
    """Until so many frames more were taken."""
    taken, began_s = cameras.counters()["gate"].taken, time.monotonic()
    take_until(cameras, lambda: cameras.counters()["gate"].taken >= taken + frames)
    return time.monotonic() - began_s


def test_rtsp_paths_that_are_not_there_say_404() -> None:
    recorder, port = Recorder(), free_port()
    spec = CameraSpec(name="gate", source=f"rtsp://127.0.0.1:{port}/other")
    with rtsp_server(port), Cameras([spec], on_state=recorder):
        assert "404" in recorder.wait_for("gate", "offline").reason


def test_rtsp_cameras_flap_together() -> None:
    recorder, port = Recorder(), free_port()
    specs = [camera(port, name=f"cam{index}") for index in range(3)]
    with Cameras(specs, on_state=recorder, settings=QUICK) as cameras:
        for _ in range(2):
            with rtsp_server(port):
                take_until(cameras, lambda: all(state.alive for state in cameras.states().values()))
            wait_until(lambda: not any(state.alive for state in cameras.states().values()))
        assert [count.reconnects for count in cameras.counters().values()] == [1, 1, 1]
