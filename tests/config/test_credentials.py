"""Where passwords come from, where they may go, and that no message shows one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edged.config import Settings, load_settings
from edged.core.errors import ConfigError
from edged.core.redact import redact

GATE = '[[camera]]\nname = "gate"\nsource = "rtsp://10.0.0.9/s"\nusername = "viewer"\n'
MQTT = '[mqtt]\nusername = "box"\n'


def load(folder: Path, text: str) -> Settings:
    path = folder / "edged.toml"
    path.write_text(text)
    path.chmod(0o600)
    return load_settings(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.exit_code == 78
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(params=["of-systemd", "beside"])
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """As the service gets them, and where `sudo edged check` finds them."""
    folder = tmp_path / "credentials"
    if request.param == "of-systemd":
        folder = tmp_path / "run"
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    folder.mkdir()
    return folder


def test_passwords_of_cameras_and_broker_come_as_credentials(tmp_path: Path, credentials: Path) -> None:
    (credentials / "camera-gate-password").write_text("hunter2\n")
    (credentials / "mqtt-password").write_bytes(b"\xef\xbb\xbfof the broker\r\n")  # as a Windows editor saves it
    settings = load(tmp_path, MQTT + GATE + 'password = "of the file"\n')
    assert settings.camera[0].source_with_credentials() == "rtsp://viewer:hunter2@10.0.0.9/s"
    assert settings.mqtt.password.get_secret_value() == "of the broker"


@pytest.mark.parametrize("name", ["mqtt-password", "camera-gate-password"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hunter2\nhunter3\n", " does not hold one line with a password"),
        (b"hunter2\xff", ": not UTF-8 at byte 7"),
        (b"hunter2" * 10_000, " does not hold one line with a password"),
    ],
)
def test_a_credential_that_is_no_password_is_refused(
    tmp_path: Path, credentials: Path, name: str, content: bytes, message: str
) -> None:
    (credentials / name).write_bytes(content)
    assert refused(tmp_path, MQTT + GATE) == f"{credentials / name}{message}"


def test_a_credential_of_no_camera_is_told(tmp_path: Path, credentials: Path, caplog: pytest.LogCaptureFixture) -> None:
    (credentials / "camera-gaet-password").write_text("hunter2")
    with caplog.at_level(logging.WARNING):
        load(tmp_path, GATE)
    assert "credential camera-gaet-password: there is no [[camera]] of that name" in caplog.text


def test_passwords_come_from_files_of_their_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    file.chmod(0o600)
    settings = load(tmp_path, f'{MQTT}password_file = "{file}"\n{GATE}password_file = "{file}"\n')
    assert settings.camera[0].source_with_credentials() == "rtsp://viewer:hunter2@10.0.0.9/s"
    assert settings.mqtt.password.get_secret_value() == "hunter2"
    assert not caplog.records
    file.chmod(0o644)
    load(tmp_path, f'{GATE}password_file = "{file}"\n')
    assert f"{file} holds a password and everyone may read it; chmod 640" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read by user"),
        (b"", "does not hold one line with a password"),
        (b"hunter2\nhunter3\n", "does not hold one line with a password"),
        (b"hunter2\xff", "not UTF-8 at byte 7"),
    ],
)
def test_a_password_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    said = refused(tmp_path, f'{GATE}password_file = "{file}"\n')
    assert f"edged.toml:5: [[camera]] number 1 password_file: {file}" in said
    assert message in said


def test_the_environment_comes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("of the file")
    file.chmod(0o600)
    monkeypatch.setenv("EDGED_CAMERA__GATE__PASSWORD", "hunter2")
    camera = load(tmp_path, f'{GATE}password_file = "{file}"\n').camera[0]
    assert camera.password.get_secret_value() == "hunter2"
    monkeypatch.delenv("EDGED_CAMERA__GATE__PASSWORD")
    monkeypatch.setenv("EDGED_CAMERA__GATE__PASSWORD_FILE", str(file))
    assert load(tmp_path, GATE + 'password = "hunter2"\n').camera[0].password.get_secret_value() == "of the file"


NO_URL = "username and password go into a URL, and source is none"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        pytest.param('source = "/dev/video0"\nusername = "v"\npassword = "hunter2"', NO_URL, id="device"),
        pytest.param('source = "0"\nusername = "v"\npassword = "hunter2"', NO_URL, id="number"),
        pytest.param('source = "192.168.1.20/stream"\nusername = "v"\npassword = "hunter2"', NO_URL, id="address"),
        pytest.param('source = "gate.mp4"\nusername = "v"', NO_URL, id="file"),
        pytest.param('source = "test:"\nusername = "v"\npassword = "hunter2"', NO_URL, id="pattern"),
        pytest.param('source = "gst:v4l2src ! appsink"\nusername = "v"\npassword = "hunter2"', NO_URL, id="gst"),
        pytest.param(
            'source = "rtsp://h/s"\npassword = "hunter2"', "a password is given without a username", id="user"
        ),
        pytest.param('source = "v:hunter2@h/s"', "source: an address begins with its scheme", id="no-scheme"),
        pytest.param('source = "rtsp:/v:hunter2@h/s"', "source: a URL has two slashes", id="one-slash"),
        pytest.param('source = "rtsp//v:hunter2@h/s"', "source: a URL has two slashes", id="no-colon"),
        pytest.param('source = "rtsp://h/{username}"', "there is no username for {username}", id="no-username"),
        pytest.param('source = "rtsp://h/{password}"', "there is no password for {password}", id="no-password"),
        pytest.param(
            'source = "rtsp://h/{username}"\nusername = "v"\npassword = "hunter2"', "is no {password}", id="place"
        ),
        pytest.param(
            'source = "rtsp://h/s"\npassword = "hunter2"\npassword_file = "x"', "remove one of them", id="both"
        ),
    ],
)
def test_credentials_that_have_no_place_are_refused(tmp_path: Path, keys: str, message: str) -> None:
    said = refused(tmp_path, f'[[camera]]\nname = "gate"\n{keys}\n')
    assert message in said
    assert "[[camera]] number 1" in said


def test_a_password_of_the_broker_needs_a_user(tmp_path: Path) -> None:
    said = refused(tmp_path, f'[mqtt]\npassword = "hunter2"\n{GATE}')
    assert "edged.toml:1: [mqtt]: a broker password is given without a username; add username" in said


@pytest.mark.parametrize(
    ("source", "filled"),
    [
        ("http://h/v.cgi?usr={username}&pwd={password}", "http://h/v.cgi?usr=v%20x&pwd=a%26%22b"),
        ("rtsp://h/user=admin_password={password}_ch=1", "rtsp://h/user=admin_password=a%26%22b_ch=1"),
        (
            "gst:rtspsrc location=rtsp://h/s user-id={username} user-pw={password} ! appsink",
            'gst:rtspsrc location=rtsp://h/s user-id="v x" user-pw="a&\\"b" ! appsink',
        ),
    ],
)
def test_credentials_go_where_the_source_wants_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: str, filled: str
) -> None:
    keys = f"source = '{source}'\nusername = 'v x'\npassword = 'a&\"b'\n"
    assert load(tmp_path, f"[[camera]]\nname = 'gate'\n{keys}").camera[0].source_with_credentials() == filled
    assert "a password in the source" not in caplog.text


@pytest.mark.parametrize(
    ("source", "filled"),
    [
        ("rtsp://[::1]:554/s?", "rtsp://v:a%5Bb@[::1]:554/s?"),
        ("rtsp://front_cam/s#x", "rtsp://v:a%5Bb@front_cam/s#x"),
        ("rtsp://old:p[ss@h/s", "rtsp://v:a%5Bb@h/s"),  # which urllib takes for half of an IPv6 address
        ("rtsp://[fe80::1%eth0]/s", "rtsp://v:a%5Bb@[fe80::1%eth0]/s"),
        ("\nrtsp://h/s\n", "rtsp://v:a%5Bb@h/s"),
    ],
)
def test_credentials_go_into_every_address_that_ffmpeg_takes(tmp_path: Path, source: str, filled: str) -> None:
    keys = f'source = """{source}"""\nusername = \'v\'\npassword = \'a[b\'\n'
    assert load(tmp_path, f"[[camera]]\nname = 'gate'\n{keys}").camera[0].source_with_credentials() == filled


def test_an_empty_password_is_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, '[[camera]]\nname = "gate"\nsource = "rtsp://admin:@10.0.0.9/11"\n')
    assert not caplog.records
    assert redact("user admin: no answer of rtsp://admin:@10.0.0.9/11") == (
        "user admin: no answer of rtsp://***@10.0.0.9/11"
    )


def test_a_password_in_a_path_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, '[[camera]]\nname = "gate"\nsource = "rtsp://h/user=a_password=hunter2_ch=1"\n')
    assert "edged.toml:3: [[camera]] number 1 source: a password in the source; give it by the keys" in caplog.text
    assert "hunter2" not in caplog.text


def test_settings_show_no_password_in_a_traceback(tmp_path: Path) -> None:
    settings = load(tmp_path, '[[camera]]\nname = "gate"\nsource = "rtsp://v:hunter2@h/s"\n')
    assert "hunter2" not in repr(settings) + str(settings)
