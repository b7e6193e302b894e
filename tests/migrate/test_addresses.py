"""Addresses of cameras: what edged reads, and that no password stays in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config import load_settings
from edged.core.redact import holds_secret
from tests.migrate.migrated import MINIMAL, migrated, refused


def with_path(path: str, *, more: str = "", go2rtc: str = "") -> str:
    text = MINIMAL.replace("path: rtsp://10.0.0.9/stream", f"path: '{path}'").replace("roles: [detect]", more)
    return text + (f"    go2rtc: {{streams: {{cam: {go2rtc}}}}}\n" if go2rtc else "")


@pytest.mark.parametrize(
    ("path", "source", "username"),
    [
        pytest.param("rtsp://10.0.0.9/s", "rtsp://10.0.0.9/s", "", id="plain"),
        pytest.param("rtsp://admin:Hidden1@10.0.0.9:554/s", "rtsp://10.0.0.9:554/s", "admin", id="both"),
        pytest.param("rtsp://ad%40min:Hidden%2F1@10.0.0.9/s", "rtsp://10.0.0.9/s", "ad@min", id="percent"),
        pytest.param("rtsp://admin:Hid@den1@10.0.0.9/s", "rtsp://10.0.0.9/s", "admin", id="at-in-password"),
        pytest.param("rtsp://admin:@10.0.0.9/s", "rtsp://10.0.0.9/s", "admin", id="no-password"),
        pytest.param("rtsp://Hidden1@10.0.0.9/s", "rtsp://10.0.0.9/s", "", id="token"),
        pytest.param("rtsp://:Hidden1@10.0.0.9/s", "rtsp://10.0.0.9/s", "", id="no-user"),
        pytest.param("http://[fe80::1]:80/v?c=1", "http://[fe80::1]:80/v?c=1", "", id="ipv6"),
        pytest.param("http://10.0.0.9/v?usr=me&pwd=Hidden1&ch=1", "http://10.0.0.9/v?usr=&pwd=&ch=1", "", id="query"),
        pytest.param("http://10.0.0.9/v?p=Hidden 1&u=me", "http://10.0.0.9/v?p=&u=", "", id="blank"),
        pytest.param(
            "http://10.0.0.9/v?loginuse=a&loginpas=Hidden1", "http://10.0.0.9/v?loginuse=&loginpas=", "", id="pas"
        ),
        pytest.param("http://h/v?token=Hidden/Hid==&ch=1", "http://h/v?token=&ch=1", "", id="base64"),
        pytest.param("http://h/v?token=Hidden_Hid=&ch=1", "http://h/v?token=&ch=1", "", id="base64url"),
        pytest.param("http://10.0.0.9/v?Token=Hidden1", "http://10.0.0.9/v?Token=", "", id="query-token"),
        pytest.param("http://10.0.0.9/v?api_key=Hidden1&sig=Hidden2", "http://10.0.0.9/v?api_key=&sig=", "", id="two"),
        pytest.param("http://a:Hidden1@10.0.0.9/v?key=Hidden2", "http://10.0.0.9/v?key=", "a", id="before-and-in"),
        pytest.param("http://10.0.0.9/v?user=me&password=", "http://10.0.0.9/v?user=me&password=", "", id="empty"),
        pytest.param(
            "rtsp://10.0.0.9:554/user=admin_password=Hidden1_channel=1_stream=0.sdp?real_stream",
            "rtsp://10.0.0.9:554/user=_password=_channel=1_stream=0.sdp?real_stream",
            "",
            id="in-the-path",
        ),
        pytest.param(
            "rtsp://10.0.0.9/s?channel=1&subtype=2", "rtsp://10.0.0.9/s?channel=1&subtype=2", "", id="harmless"
        ),
        pytest.param("/dev/video0", "/dev/video0", "", id="device"),
        pytest.param("/media/street.mp4", "/media/street.mp4", "", id="file"),
    ],
)
def test_secrets_leave_the_address(tmp_path: Path, path: str, source: str, username: str) -> None:
    made = migrated(tmp_path, with_path(path))
    (camera,) = made.settings.camera
    assert (camera.source, camera.username) == (source, username)
    assert "Hidden" not in made.text and "Hid" not in made.text and not holds_secret(camera.source)


@pytest.mark.parametrize(
    ("path", "placed"),
    [
        ("http://10.0.0.9/v?usr=me&pwd=x1234&ch=1", "http://10.0.0.9/v?usr={username}&pwd={password}&ch=1"),
        ("http://10.0.0.9/v?token=x1234", "http://10.0.0.9/v?token={password}"),
    ],
    ids=["user", "token"],
)
def test_an_address_with_places_for_user_and_password_works_once_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, placed: str
) -> None:
    made = migrated(tmp_path, with_path(path))
    (camera,) = made.settings.camera
    text = made.text.replace(f'\nsource = "{camera.source}"', "")
    for line in ("source", "username"):
        text = text.replace(f"\n# {line} = ", f"\n{line} = ")
    (tmp_path / "pw").write_text("new")
    (tmp_path / "edged.toml").write_text(
        text.replace('# password_file = "/etc/edged/gate-password"', 'password_file = "pw"')
    )
    monkeypatch.chdir(tmp_path)
    (camera,) = load_settings(tmp_path / "edged.toml").camera
    assert camera.source == placed
    assert camera.source_with_credentials() == placed.format(username="me", password="new")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("rtsp://admin:Hid/den1@10.0.0.9/s", id="slash-in-password"),
        pytest.param("rtsp://admin:Hid@den/1@10.0.0.9/s", id="at-and-slash"),
        pytest.param("rtsp://admin:12?Hidden1@10.0.0.9/s", id="question-mark"),
        pytest.param("rtmp://admin:Hidden1@10.0.0.9/s", id="rtmp"),
        pytest.param("rtsp:admin:Hidden1@10.0.0.9/s", id="no-slashes"),
        pytest.param("admin:Hidden1@10.0.0.9/s", id="no-scheme"),
        pytest.param("gst:rtspsrc location=rtsp://10.0.0.9 user-pw=Hidden1", id="pipeline"),
        pytest.param("", id="empty"),
        pytest.param(" ", id="blank"),
        pytest.param("rtsp://10.0.0.9/" + "x" * 5000, id="long"),
        pytest.param("http://10.0.0.9/{password}", id="places-of-edged"),
    ],
)
def test_an_address_that_edged_cannot_have_makes_the_camera_comments(tmp_path: Path, path: str) -> None:
    other = "      yard: {ffmpeg: {inputs: [{path: /dev/video0}]}}\n"
    made = migrated(tmp_path, with_path(path) + other)
    assert [camera.name for camera in made.settings.camera] == ["yard"]
    assert "\n# camera gate is left out: " in made.text and '\n# name = "gate"' in made.text
    assert "Hid" not in made.text and "den1" not in made.text
    alone = refused(tmp_path, with_path(path))
    assert "gate: " in alone and "Hid" not in alone and "den1" not in alone


@pytest.mark.parametrize(
    ("go2rtc", "source", "username"),
    [
        pytest.param("rtsp://10.0.0.9/s", "rtsp://10.0.0.9/s", "", id="text"),
        pytest.param("[rtsp://a:Hidden1@10.0.0.9/s, ffmpeg:cam]", "rtsp://10.0.0.9/s", "a", id="list"),
        pytest.param("'rtsp://10.0.0.9/s#backchannel=0'", "rtsp://10.0.0.9/s", "", id="options"),
        pytest.param("'ffmpeg:rtsp://a:Hidden1@10.0.0.9/s#video=copy'", "rtsp://10.0.0.9/s", "a", id="ffmpeg"),
        pytest.param("'ffmpeg:other#video=h264'", "rtsp://127.0.0.1:8554/cam", "", id="another-stream"),
        pytest.param("'exec:ffmpeg -i Hidden1'", "rtsp://127.0.0.1:8554/cam", "", id="program"),
        pytest.param("'tapo://Hidden1@10.0.0.9'", "rtsp://127.0.0.1:8554/cam", "", id="other-kind"),
        pytest.param("[]", "rtsp://127.0.0.1:8554/cam", "", id="none"),
        pytest.param("'rtsp://{FRIGATE_U}:{FRIGATE_P}@10.0.0.9/s'", "rtsp://10.0.0.9/s", "", id="variables"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "a:Hidden2@127.0.0.1"])
def test_a_restream_leads_to_the_camera(tmp_path: Path, host: str, go2rtc: str, source: str, username: str) -> None:
    made = migrated(tmp_path, with_path(f"rtsp://{host}:8554/cam?video=copy", go2rtc=go2rtc))
    (camera,) = made.settings.camera
    assert (camera.source, camera.username) == (source, username)
    assert "Hidden" not in made.text


def test_a_restream_that_the_file_does_not_have_is_kept(tmp_path: Path) -> None:
    made = migrated(tmp_path, with_path("rtsp://127.0.0.1:8554/cam"))
    assert made.settings.camera[0].source == "rtsp://127.0.0.1:8554/cam"
    assert made.has(
        "# the first source of go2rtc's cam is not in the file: keep go2rtc running, or name the camera itself"
    )


def test_a_restream_that_is_turned_says_so(tmp_path: Path) -> None:
    made = migrated(tmp_path, with_path("rtsp://127.0.0.1:8554/cam", go2rtc="'ffmpeg:rtsp://h/s#video=h264#rotate=90'"))
    assert made.has("# go2rtc turned its picture: set rotate, in degrees clockwise, so that zones and masks fit")


def test_a_password_that_go2rtc_cuts_does_not_leak(tmp_path: Path) -> None:
    text = with_path("rtsp://127.0.0.1:8554/cam", go2rtc="'rtsp://a:Hid#den1@10.0.0.9/s'")
    assert "Hid" not in refused(tmp_path, text)


def test_a_variable_that_is_not_user_or_password_is_named(tmp_path: Path) -> None:
    made = migrated(tmp_path, with_path("rtsp://a:{FRIGATE_P}@{FRIGATE_HOST}/{FRIGATE_HOST}"))
    assert made.settings.camera[0].source == "rtsp://{FRIGATE_HOST}/{FRIGATE_HOST}"
    assert made.text.count("write the value of FRIGATE_HOST here, or set EDGED_CAMERA__GATE__SOURCE") == 1


def test_the_input_for_detect_is_taken(tmp_path: Path) -> None:
    text = """
        cameras:
          one: {ffmpeg: {inputs: [{path: /one, roles: [record]}]}}
          two: {ffmpeg: {inputs: [{path: /a, roles: [record, audio]}, {path: /b, roles: detect}]}}
          none: {ffmpeg: {inputs: [{path: /a, roles: [record]}, {path: /b, roles: [audio]}]}}
          both: {ffmpeg: {inputs: [{path: /a, roles: [detect]}, {path: /b, roles: [detect]}]}}
          empty: {}
    """
    made = migrated(tmp_path, text)
    assert {camera.name: camera.source for camera in made.settings.camera} == {"one": "/one", "two": "/b"}
    assert made.has(
        "# camera none is left out: 0 of its 2 inputs have the role detect, expected one",
        "# camera both is left out: 2 of its 2 inputs have the role detect, expected one",
        "# camera empty is left out: it has no ffmpeg.inputs",
    )


def test_rtsp_over_udp_and_the_name_for_people_are_taken_over(tmp_path: Path) -> None:
    text = """
        ffmpeg: {input_args: preset-rtsp-udp}
        cameras:
          one: {friendly_name: Front door, ffmpeg: {inputs: [{path: 'rtsp://cam/a'}]}}
          two: {ffmpeg: {inputs: [{path: 'rtsp://cam/b', input_args: preset-rtsp-generic}]}}
          three: {ffmpeg: {input_args: [-rtsp_transport, udp], inputs: [{path: 'rtsp://cam/c'}]}}
          four: {ffmpeg: {inputs: [{path: 'http://cam/d'}]}}
    """
    made = migrated(tmp_path, text)
    assert [camera.transport for camera in made.settings.camera] == ["udp", "auto", "udp", "auto"]
    assert [camera.title for camera in made.settings.camera] == ["Front door", "", "", ""]
    assert "input_args" not in made.text.replace("# ffmpeg.input_args: edged", "")
