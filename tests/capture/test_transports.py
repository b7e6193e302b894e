"""Cameras that offer one transport only, hide behind certificates, or send other codecs: by configuration alone."""

from __future__ import annotations

from typing import Any

import pytest

from edged.capture.cameras import Cameras
from edged.capture.spec import CameraSpec
from edged.core.states import CameraState
from tests.brokers import Certificates, free_port, make_certificates
from tests.capture.rtsp import camera, other_machine, rtsp_server
from tests.capture.support import QUICK, Recorder, wait_for_frame, wait_until


def seen(spec: CameraSpec) -> CameraState:
    """The camera's state with its first frame."""
    with Cameras([spec], on_state=Recorder(), settings=QUICK) as cameras:
        wait_for_frame(cameras)
        return cameras.states()["gate"]


def refusal(spec: CameraSpec) -> str:
    """Why the camera cannot be opened."""
    recorder = Recorder()
    with Cameras([spec], on_state=recorder, settings=QUICK):
        return recorder.wait_for("gate", "offline").reason


@pytest.mark.parametrize(
    ("offered", "asked", "used"),
    [
        ("TCP", "auto", "tcp"),
        ("UDP", "auto", "udp"),
        ("UDP", "udp", "udp"),
        ("UDP", "tcp", "it does not offer RTSP over tcp; set transport to one that it offers"),
        ("TCP", "udp", "it does not offer RTSP over udp"),
    ],
)
def test_rtsp_transport_is_what_camera_and_configuration_agree_on(offered: str, asked: Any, used: str) -> None:
    port = free_port()
    spec = camera(port, transport=asked)
    with rtsp_server(port, protocols=[offered]):
        if " " in used:
            assert used in refusal(spec)
        else:
            assert seen(spec).transport == used


def test_rtsp_multicast_from_another_machine() -> None:
    port = free_port()
    with (
        other_machine() as (host, groups, there),
        rtsp_server(port, inside=there, host=host, groups=groups, protocols=["UDP_MCAST"]),
    ):
        spec = CameraSpec(name="gate", source=f"rtsp://{host}:{port}/cam")
        assert seen(spec).transport == "multicast"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("host", "options", "problem"),
    [
        ("localhost", {"verify": False}, ""),
        ("127.0.0.1", {"verify": False}, ""),
        ("localhost", {"ca_file": "ca.pem"}, ""),
        ("localhost", {}, "its certificate is not accepted: "),
        ("127.0.0.1", {"ca_file": "ca.pem"}, "its certificate is not accepted: "),
        ("localhost", {"ca_file": "no.pem"}, "no.pem' cannot be read: No such file"),
    ],
    ids=["unverified", "unverified-address", "own-authority", "unknown-authority", "another-name", "no-file"],
)
def test_rtsps_certificate_is_checked_unless_told_otherwise(
    certificates: Certificates, host: str, options: dict[str, Any], problem: str
) -> None:
    port = free_port()
    if "ca_file" in options:
        options = {**options, "ca_file": str(certificates.file(options["ca_file"]))}
    spec = camera(port, source=f"rtsps://{host}:{port}/cam", **options)
    files = {"certificate": str(certificates.file("server.pem")), "key": str(certificates.file("server.key"))}
    with rtsp_server(port, **files):
        if problem:
            why = refusal(spec)
            assert problem in why
            assert ("verify = false" in why) == ("certificate" in problem)
        else:
            assert seen(spec).size_wh == (320, 240)


@pytest.mark.parametrize(
    ("server", "codec"),
    [
        ({"codec": "h265"}, "hevc"),
        ({"codec": "jpeg"}, "mjpeg"),
        ({"audio_first": True}, "h264"),
        ({"sps": False}, "h264"),
        ({"size": "width=240,height=320"}, "h264"),
        ({"size": "width=322,height=242"}, "h264"),
        ({"size": "width=3840,height=2160", "rate": "framerate=3/1", "keys": 3}, "h264"),
        ({"password": "secret", "digest": True}, "h264"),
    ],
    ids=["h265", "jpeg", "audio-first", "sps-in-sdp-only", "portrait", "cropped", "4k", "digest"],
)
def test_rtsp_camera_of_another_kind_is_read(server: dict[str, Any], codec: str) -> None:
    port = free_port()
    with rtsp_server(port, **server):
        state = seen(camera(port, user="joe:secret@" if "password" in server else ""))
    assert state.decoder == f"FFMPEG {codec}, software"
    if "size" in server:
        assert "width={},height={}".format(*state.size_wh) == server["size"]


def test_rtsp_digest_password_that_is_wrong_is_refused_and_never_shown() -> None:
    port = free_port()
    with rtsp_server(port, password="secret", digest=True):
        why = refusal(camera(port, user="joe:guessed@"))
    assert "401" in why
    assert "guessed" not in why


def test_rtsp_key_frames_alone_are_decoded_and_their_interval_is_known() -> None:
    port = free_port()
    with (
        rtsp_server(port, keys=7, shared=True),
        Cameras([camera(port, decode="keyframes"), camera(port, name="all")], on_state=Recorder()) as cameras,
    ):
        wait_until(lambda: cameras.states()["gate"].key_interval_s > 0 and cameras.counters()["gate"].captured > 5)
        state, counters = cameras.states()["gate"], cameras.counters()
    assert state.key_interval_s == pytest.approx(7 / 15, abs=0.05)
    assert counters["gate"].bad_frames <= 2, "the two halves that tell that this server sends pictures in parts"
    assert counters["all"].captured > 4 * counters["gate"].captured
