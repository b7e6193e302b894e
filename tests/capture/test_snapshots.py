"""Cameras that give a picture for each request: recognised by what they send, asked politely, judged like any other."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edged.capture.cameras import Cameras
from edged.capture.sources.fetching import parted, rest_s
from edged.capture.spec import CameraSpec
from tests.brokers import make_certificates
from tests.capture.snapshot_server import SnapshotServer, snapshot_server
from tests.capture.support import QUICK, Recorder, number_of, take_until, wait_for_frame, wait_until
from tests.capture.videos import jpeg


def camera(server: SnapshotServer, *, user: str = "", **options: Any) -> CameraSpec:
    source = f"http://{user}127.0.0.1:{server.port}/snap.jpg?channel=1"
    return CameraSpec(**{"name": "gate", "source": source, "fps": 10.0, "read_timeout_s": 1.0, **options})


def watching(spec: CameraSpec, recorder: Recorder | None = None) -> Cameras:
    return Cameras([spec], on_state=recorder or Recorder(), settings=QUICK)


def refusal(spec: CameraSpec) -> str:
    recorder = Recorder()
    with watching(spec, recorder):
        return recorder.wait_for("gate", "offline").reason


def noisy_jpeg() -> bytes:
    """As large as those of cameras; FFmpeg is less sure of it than of a small one."""
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def test_snapshots_come_at_the_rate_over_one_connection_one_request_each() -> None:
    with snapshot_server() as server, watching(camera(server)) as cameras:
        wait_for_frame(cameras)
        began_s, before = time.monotonic(), cameras.counters()["gate"].captured
        connections, asked = server.connections, len(server.asked_s)
        wait_until(lambda: cameras.counters()["gate"].captured >= before + 10)
        took_s = time.monotonic() - began_s
        assert server.connections == connections
        assert 9 <= len(server.asked_s) - asked <= 12
        assert took_s > 0.7
        state = cameras.states()["gate"]
    assert (state.decoder, state.fps) == ("HTTP snapshots, OpenCV", 10.0)


def test_snapshot_of_a_real_size_is_one_and_asked_for_at_its_rate() -> None:
    with snapshot_server() as server:
        server.picture = noisy_jpeg()
        spec = camera(server, source=f"http://127.0.0.1:{server.port}/snapshot.jpg", fps=2.0)
        with watching(spec) as cameras:
            wait_for_frame(cameras)
            assert cameras.states()["gate"].decoder == "HTTP snapshots, OpenCV"
            asked = len(server.asked_s)
            take_until(cameras, lambda: len(server.asked_s) >= asked + 3)
            assert server.asked_s[-1] - server.asked_s[-3] > 0.7


def test_snapshot_camera_that_is_busy_at_the_second_request_is_waited_for() -> None:
    with snapshot_server() as server:
        server.refuses_ours = [(503, {"Retry-After": "1"})]
        with watching(camera(server)) as cameras:
            wait_for_frame(cameras)
            assert cameras.counters()["gate"].reconnects == 0
        assert not server.refuses_ours


def test_snapshot_camera_that_says_unchanged_before_it_gave_a_picture_is_no_camera() -> None:
    with snapshot_server() as server:
        server.refuses_ours = [(304, {})]
        assert "HTTP 304, not modified, before there was a picture" in refusal(camera(server))


def test_pictures_without_an_end_are_a_stream() -> None:
    with snapshot_server() as server:
        server.picture, server.stream = noisy_jpeg(), True
        with watching(camera(server, fps=0.0)) as cameras:
            take_until(cameras, lambda: cameras.counters()["gate"].captured > 5)
            assert cameras.states()["gate"].decoder == "FFMPEG mjpeg, software"


def test_snapshot_that_changes_is_seen_and_its_size_too() -> None:
    with snapshot_server() as server, watching(camera(server)) as cameras:
        wait_for_frame(cameras)
        server.picture = jpeg(40, size_wh=(320, 240))
        frames = take_until(cameras, lambda: cameras.states()["gate"].size_wh == (320, 240))
        last = wait_for_frame(cameras)
    assert frames and number_of(last.pixels) == 40


@pytest.mark.parametrize(("fps", "after_s"), [(20.0, 1.0), (2.0, 2.0)], ids=["often", "rarely"])
def test_snapshot_that_has_not_changed_is_not_sent_again_and_is_frozen_in_the_end(fps: float, after_s: float) -> None:
    recorder = Recorder()
    with snapshot_server() as server, watching(camera(server, fps=fps, frozen_after_s=after_s), recorder) as cameras:
        server.tag = '"1"'
        take_until(cameras, lambda: server.not_modified > 5)
        recorder.wait_for("gate", "frozen")
        assert cameras.counters()["gate"].captured > 5
        server.picture, server.tag = jpeg(2), '"2"'
        take_until(cameras, lambda: number_of(wait_for_frame(cameras).pixels) == 2)


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_snapshot_password_right_wrong_and_missing(*, digest: bool) -> None:
    with snapshot_server() as server:
        server.password, server.digest = "säcret", digest
        with watching(camera(server, user="joe:s%C3%A4cret@")) as cameras:
            asked = len(server.asked_s)
            take_until(cameras, lambda: len(server.asked_s) > asked + 2)
        for user in ("joe:guessed@", ""):
            why = refusal(camera(server, user=user))
            assert "401" in why and "guessed" not in why


@pytest.mark.parametrize("status", [429, 503])
def test_snapshot_camera_that_asks_to_be_left_alone_is(status: int) -> None:
    recorder = Recorder()
    with snapshot_server() as server, watching(camera(server, read_timeout_s=0.5), recorder) as cameras:
        wait_for_frame(cameras)
        asked = len(server.asked_s)
        server.refusals = [(status, {"Retry-After": "2"})]
        assert f"asks to be left alone for 2 s (HTTP {status})" in recorder.wait_for("gate", "offline").reason
        take_until(cameras, lambda: not server.refusals and len(server.asked_s) > asked + 4)
        times_s = server.asked_s[asked:]
        assert max(later - earlier for earlier, later in pairwise(times_s)) >= 1.9
        assert cameras.counters()["gate"].reconnects == 0
        assert cameras.states()["gate"].state == "online"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"refusals": [(404, {})] * 9}, "404 Not Found"),
        ({"refusals": [(500, {})] * 9}, "HTTP 500"),
        ({"endless": True}, "gave no frame for 1 s"),
    ],
    ids=["gone", "failing", "endless"],
)
def test_snapshot_camera_that_fails_under_way_is_lost_and_comes_back(change: dict[str, Any], problem: str) -> None:
    recorder = Recorder()
    with snapshot_server() as server, watching(camera(server), recorder) as cameras:
        wait_for_frame(cameras)
        for name, value in change.items():
            setattr(server, name, value)
        assert problem in recorder.wait_for("gate", "offline").reason
        server.refusals, server.endless = [], False
        take_until(cameras, lambda: cameras.counters()["gate"].reconnects == 1)


def test_snapshot_that_is_damaged_is_counted_and_the_next_is_good() -> None:
    with snapshot_server() as server, watching(camera(server)) as cameras:
        wait_for_frame(cameras)
        server.picture = jpeg(1)[:200]
        wait_until(lambda: cameras.counters()["gate"].bad_frames > 2)
        server.picture = jpeg(33)
        take_until(cameras, lambda: number_of(wait_for_frame(cameras).pixels) == 33)


def test_snapshot_page_that_is_no_picture_is_said() -> None:
    with snapshot_server() as server:
        recorder = Recorder()
        with watching(camera(server), recorder) as cameras:
            wait_for_frame(cameras)
            server.picture, server.kind = b"<html>please log in</html>", "text/html"
            assert "expected a picture, got text/html" in recorder.wait_for("gate", "offline").reason


def test_snapshot_certificate_is_checked_unless_told_otherwise(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with snapshot_server(certificate=certificates.file("server.pem")) as server:
        source = f"https://localhost:{server.port}/snap.jpg"
        for options in ({"verify": False}, {"ca_file": str(certificates.file("ca.pem"))}):
            with watching(camera(server, source=source, **options)) as cameras:
                assert wait_for_frame(cameras).meta.size_wh == (160, 120)
        assert "its certificate is not accepted" in refusal(camera(server, source=source))


@pytest.mark.parametrize(
    ("source", "url", "user"),
    [
        ("http://cam/a.jpg", "http://cam/a.jpg", None),
        ("HTTP://joe:a%40b@cam:80/x?y=@z", "http://cam:80/x?y=@z", ("joe", "a@b")),
        ("https://joe@cam", "https://cam", ("joe", "")),
        ("http://joe:a[b@[::1]:8/x", "http://[::1]:8/x", ("joe", "a[b")),
    ],
)
def test_address_and_credentials_are_parted(source: str, url: str, user: tuple[str, str] | None) -> None:
    assert parted(source) == (url, user)


def test_retry_after_is_seconds_or_a_date_and_bounded() -> None:
    now = datetime.now(timezone.utc)
    assert rest_s("7") == 7
    assert rest_s("999999") == 3600
    assert rest_s("soon") == rest_s("-5") == rest_s("") == 1
    assert 25 < rest_s(format_datetime(now + timedelta(seconds=30), usegmt=True)) <= 30
    assert rest_s(format_datetime(now - timedelta(seconds=30), usegmt=True)) == 1
