"""Passwords show in no log, message, argument or file; and a model that others may change is refused."""

from __future__ import annotations

import base64
import json
import stat
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.boxes import Box, run_edged, write_video
from tests.brokers import Broker, Subscriber, free_port, wait_for, write_passwords
from tests.faults.processes import descendants

MQTT_PASSWORD = "mqtt pass/word@1"
URL_PASSWORD = "url-passw0rd"
KEY_PASSWORD = "key:p@ss/w0rd"
TOKEN = "query-t0ken"


def forms(secret: str) -> list[bytes]:
    """A secret as it might leak: plain, percent-encoded, base64 (as HTTP Basic sends it)."""
    encoded = base64.b64encode(f"joe:{secret}".encode())
    return [secret.encode(), quote(secret, safe="").encode(), encoded, base64.b64encode(secret.encode())]


def leaks(content: bytes) -> list[str]:
    return [s for s in (MQTT_PASSWORD, URL_PASSWORD, KEY_PASSWORD, TOKEN) for form in forms(s) if form in content]


@pytest.fixture
def guarded(tmp_path: Path) -> Broker:
    folder = tmp_path / "broker"
    folder.mkdir()
    write_passwords(folder / "passwords", box=MQTT_PASSWORD)
    return Broker(folder, free_port(), settings=("allow_anonymous false", f"password_file {folder}/passwords"))


def box_of(folder: Path, port: int, *, password: str = MQTT_PASSWORD) -> Box:
    dead = free_port()
    cameras: dict[str, dict[str, object]] = {
        "file": {"source": str(write_video(folder / "a.avi"))},
        "url": {"source": f"rtsp://joe:{URL_PASSWORD}@127.0.0.1:{dead}/cam?token={TOKEN}"},
        "keys": {"source": f"http://127.0.0.1:{dead}/cam?key={TOKEN}", "username": "joe", "password": KEY_PASSWORD},
        "pipe": {"source": f"gst:rtspsrc location=rtsp://127.0.0.1:{dead}/cam user-id=joe user-pw={URL_PASSWORD}"},
    }
    outbox = json.dumps(str(folder / "outbox"))
    extra = f'[log]\nlevel = "debug"\n[publish]\ndurable = true\noutbox = {outbox}\nstats_interval_s = 0.3'
    box = Box(folder, port, cameras=cameras, extra=extra)
    box.write()
    credentials = f'[mqtt]\nusername = "box"\npassword = {json.dumps(password)}'
    write = box.write

    def with_credentials() -> Path:
        path = write()
        path.write_text(path.read_text().replace("[mqtt]", credentials))
        return path

    box.write = with_credentials  # type: ignore[method-assign]
    return box


def test_secrets_show_in_no_log_message_argument_or_file(tmp_path: Path, guarded: Broker) -> None:
    guarded.start()
    credentials = {"username": "box", "password": MQTT_PASSWORD}
    try:
        with Subscriber(guarded.port, **credentials) as subscriber, box_of(tmp_path, guarded.port) as box:
            for camera in ("url", "keys", "pipe"):
                topic = f"edged/box/{camera}/health"
                wait_for(lambda topic=topic: b'"offline"' in subscriber.last(topic), timeout_s=30, what=f"{camera} off")  # type: ignore[misc]
            wait_for(lambda: subscriber.payloads("edged/box/stats"), what="statistics")
            assert box.process is not None
            for pid in (box.process.pid, *descendants(box.process.pid)):
                assert not leaks(Path(f"/proc/{pid}/cmdline").read_bytes())
                assert not leaks(Path(f"/proc/{pid}/environ").read_bytes())
            time.sleep(1)
            assert box.stop() == 0
            assert len(subscriber.messages) > 10
            for message in subscriber.messages:
                assert not leaks(message.payload + message.topic.encode()), message
        assert "rtsp://***@127.0.0.1" in box.log()
        assert not leaks(box.log().encode())
        for path in (tmp_path / "outbox").iterdir():
            assert not leaks(path.read_bytes()), path
    finally:
        guarded.kill()


def test_secrets_show_in_no_message_of_failing_commands(tmp_path: Path, guarded: Broker) -> None:
    guarded.start()
    try:
        box = box_of(tmp_path, guarded.port, password=MQTT_PASSWORD + "x")
        done = run_edged("check", "--config", box.write())
        assert "refuses the credentials of user 'box'" in done.stdout + done.stderr
        assert not leaks((done.stdout + done.stderr).encode())
        box.config.write_text(box.config.read_text() + "colour = 1\n")
        refused = run_edged("run", "--config", box.config)
        assert refused.returncode == 78
        assert not leaks((refused.stdout + refused.stderr).encode())
    finally:
        guarded.kill()


def test_state_is_for_the_daemon_alone(tmp_path: Path, guarded: Broker) -> None:
    guarded.start()
    try:
        with box_of(tmp_path, guarded.port) as box:
            box.wait_log("camera file: online")
            time.sleep(1)
            outbox = tmp_path / "outbox"
            for path in (outbox, *outbox.iterdir()):
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
            assert box.stop() == 0
    finally:
        guarded.kill()


@pytest.mark.parametrize("file", ["", "manifest.json", "model.onnx"])
def test_model_that_others_may_write_is_refused_by_the_daemon(tmp_path: Path, file: str) -> None:
    box = Box(tmp_path, free_port(), cameras={"gate": {"source": "test:"}})
    box.write()
    (box.model / file).chmod(0o777)
    done = run_edged("run", "--config", box.config)
    assert done.returncode == 65
    assert "is writable by everyone; refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("secret", [MQTT_PASSWORD, URL_PASSWORD, KEY_PASSWORD, TOKEN])
def test_leaks_are_recognised_in_every_form(secret: str) -> None:
    for form in forms(secret):
        assert set(leaks(b"before " + form + b" after")) == {secret}
