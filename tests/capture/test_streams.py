"""Real RTSP, from GStreamer's own server: password, stall, restart, a size that changes under way."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edged.capture.cameras import Cameras
from edged.capture.parent.context import CaptureSettings
from edged.capture.spec import CameraSpec
from tests.brokers import free_port
from tests.capture.support import QUICK, Recorder, take_until, wait_for_frame, wait_until

PYTHON = "/usr/bin/python3"  # the distribution's, which has GStreamer's bindings
SERVER = """
import sys, gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer as Rtsp
Gst.init(None)
if not (Gst.ElementFactory.find("x264enc") and Gst.ElementFactory.find("rtph264pay")):
    sys.exit("GStreamer lacks x264enc or rtph264pay")
port, password = sys.argv[1:3]
server = Rtsp.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
factory = Rtsp.RTSPMediaFactory()
sizes = ["width=320,height=240"]
playing = []
factory.set_launch(
    "( videotestsrc is-live=true ! capsfilter name=size caps=video/x-raw,width=320,height=240,framerate=15/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15"
    " ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)
if password:
    role, auth, token = "viewer", Rtsp.RTSPAuth(), Rtsp.RTSPToken()
    token.set_string(Rtsp.RTSP_TOKEN_MEDIA_FACTORY_ROLE, role)
    auth.add_basic(Rtsp.RTSPAuth.make_basic("joe", password), token)
    server.set_auth(auth)
    permissions = Rtsp.RTSPPermissions()
    permissions.add_role(role)
    for name in ("access", "construct"):
        permissions.add_permission_for_role(role, "media.factory." + name, True)
    factory.set_permissions(permissions)
def resize(element):
    element.set_property("caps", Gst.Caps.from_string("video/x-raw," + sizes[-1] + ",framerate=15/1"))
def prepared(_, media):
    playing.append(media.get_element().get_by_name("size"))
    resize(playing[-1])
def on_line(*_):
    sizes.append(sys.stdin.readline().strip())
    for element in playing:
        resize(element)
    return bool(sizes[-1])
factory.connect("media-configure", prepared)
GLib.io_add_watch(0, GLib.IO_IN, on_line)
server.get_mount_points().add_factory("/cam", factory)
if not server.attach(None):
    sys.exit("port taken")
print("ready", flush=True)
GLib.MainLoop().run()
"""


@contextmanager
def rtsp_server(folder: Path, port: int, *, password: str = "") -> Iterator[subprocess.Popen[str]]:
    """A running server; skips the test where GStreamer's is not installed."""
    script = folder / "server.py"
    script.write_text(SERVER)
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with GStreamer's bindings")
    command = [PYTHON, str(script), str(port), password]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            if process.stdout.readline().strip() != "ready":
                pytest.skip(f"no RTSP server from GStreamer: {process.stderr.read().strip().splitlines()[-1:]}")
            yield process
        finally:
            process.kill()


def camera(port: int, *, name: str = "gate", user: str = "") -> CameraSpec:
    """A camera at our server."""
    return CameraSpec(name=name, source=f"rtsp://{user}127.0.0.1:{port}/cam", read_timeout_s=1.5)


def test_rtsp_plays_stalls_and_returns(tmp_path: Path) -> None:
    recorder, port = Recorder(), free_port()
    with rtsp_server(tmp_path, port) as server, Cameras([camera(port)], on_state=recorder, settings=QUICK) as cameras:
        frame = wait_for_frame(cameras)
        assert frame.meta.size_wh == (320, 240)
        assert cameras.states()["gate"].decoder == "FFMPEG h264, software"
        os.kill(server.pid, signal.SIGSTOP)
        began_s = time.monotonic()
        recorder.wait_for("gate", "offline")
        assert time.monotonic() - began_s < 5
        os.kill(server.pid, signal.SIGCONT)
        take_until(cameras, lambda: cameras.counters()["gate"].reconnects == 1)


def test_rtsp_server_that_returns_is_noticed_long_before_the_pause_is_over(tmp_path: Path) -> None:
    recorder, port = Recorder(), free_port()
    settings = CaptureSettings(backoff_first_s=60.0, backoff_max_s=60.0)
    with Cameras([camera(port)], on_state=recorder, settings=settings) as cameras:
        assert "Connection refused" in recorder.wait_for("gate", "offline").reason
        time.sleep(0.5)
        with rtsp_server(tmp_path, port):
            began_s = time.monotonic()
            take_until(cameras, lambda: cameras.counters()["gate"].taken > 0)
            took_s = time.monotonic() - began_s
    assert took_s < 5, "1 s until the next knock, then the opening"


def test_rtsp_password_right_and_wrong(tmp_path: Path) -> None:
    recorder, port = Recorder(), free_port()
    specs = [camera(port, name="right", user="joe:secret@"), camera(port, name="wrong", user="joe:guessed@")]
    with rtsp_server(tmp_path, port, password="secret"), Cameras(specs, on_state=recorder) as cameras:
        offline = recorder.wait_for("wrong", "offline")
        recorder.wait_for("right", "online")
        time.sleep(2.5)  # well beyond the ordinary first pause
        assert cameras.states()["wrong"].since == offline.since
    assert "401" in offline.reason
    shown = f"{recorder.states}"
    assert "secret" not in shown and "guessed" not in shown


def test_rtsp_size_changes_under_way(tmp_path: Path) -> None:
    recorder, port = Recorder(), free_port()
    with rtsp_server(tmp_path, port) as server, Cameras([camera(port)], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: cameras.counters()["gate"].taken > 5)
        assert server.stdin is not None
        server.stdin.write("width=640,height=480\n")
        server.stdin.flush()
        take_until(cameras, lambda: cameras.states()["gate"].size_wh == (640, 480))
        taken = cameras.counters()["gate"].taken
        frames = take_until(cameras, lambda: cameras.counters()["gate"].taken > taken + 5)
        counters = cameras.counters()["gate"]
    assert frames[-1].meta.size_wh == (640, 480)
    assert counters.captured == counters.taken + sum(counters.dropped.values()) + counters.waiting


def test_rtsp_paths_that_are_not_there_say_404(tmp_path: Path) -> None:
    recorder, port = Recorder(), free_port()
    spec = CameraSpec(name="gate", source=f"rtsp://127.0.0.1:{port}/other")
    with rtsp_server(tmp_path, port), Cameras([spec], on_state=recorder):
        assert "404" in recorder.wait_for("gate", "offline").reason


def test_rtsp_cameras_flap_together(tmp_path: Path) -> None:
    recorder, port = Recorder(), free_port()
    specs = [camera(port, name=f"cam{index}") for index in range(3)]
    with Cameras(specs, on_state=recorder, settings=QUICK) as cameras:
        for _ in range(2):
            with rtsp_server(tmp_path, port):
                take_until(cameras, lambda: all(state.alive for state in cameras.states().values()))
            wait_until(lambda: not any(state.alive for state in cameras.states().values()))
        assert [count.reconnects for count in cameras.counters().values()] == [1, 1, 1]
