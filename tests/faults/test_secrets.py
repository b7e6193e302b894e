"""Passwords show in no log, message, argument or file; and a model that others may change is refused."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from edged.core.secrets import remember
from edged.daemon.systemd import Systemd
from tests.boxes import Box, run_edged
from tests.brokers import Broker, Subscriber, free_port, wait_for, write_passwords
from tests.faults.guarded import (
    KEY_PASSWORD,
    MQTT_PASSWORD,
    PATH_PASSWORD,
    ROOT,
    SECRETS,
    TOKEN,
    URL_PASSWORD,
    Tattler,
    box_of,
    forms,
    leaks,
)
from tests.faults.processes import descendants
from tests.handmade import write_bundle


@pytest.fixture
def tattler() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tattler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    write_passwords(folder / "passwords", box=MQTT_PASSWORD)
    broker = Broker(folder, free_port(), settings=("allow_anonymous false", f"password_file {folder}/passwords"))
    broker.start()
    yield broker
    broker.kill()


def all_settled(subscriber: Subscriber, cameras: Iterable[str]) -> None:
    waited_for = {f"edged/box/{camera}/health": b'"online"' if camera == "film" else b'"offline"' for camera in cameras}
    wait_for(
        lambda: all(state in subscriber.last(topic) for topic, state in waited_for.items()),
        timeout_s=40,
        what="all cameras settled",
    )
    wait_for(lambda: subscriber.payloads("edged/box/stats"), what="statistics")


def shown(pid: int, *files: str) -> bytes:
    """What everyone may read of a process; empty where it has ended, as that of a camera that cannot be opened does."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return b"".join(Path(f"/proc/{pid}/{file}").read_bytes() for file in files)
    return b""


def test_secrets_show_in_no_log_message_argument_or_file(tmp_path: Path, guarded: Broker, tattler: int) -> None:
    credentials = {"username": "box", "password": MQTT_PASSWORD}
    box = box_of(tmp_path, guarded.port, http_port=tattler)
    with Subscriber(guarded.port, **credentials) as subscriber, box:
        all_settled(subscriber, box.cameras)
        assert box.process is not None
        assert not leaks(shown(box.process.pid, "cmdline", "comm"))  # its environment holds what the operator put there
        children = [shown(pid, "cmdline", "comm", "environ") for pid in descendants(box.process.pid)]
        assert any(children)
        assert not any(map(leaks, children))
        box.signal(signal.SIGHUP)
        box.wait_log("reloaded")
        time.sleep(1)
        assert box.stop() == 0
        assert len(subscriber.messages) > 10
        for message in subscriber.messages:
            assert not leaks(message.payload + message.topic.encode()), message
    assert "rtsp://***@127.0.0.1" in box.log()
    assert not leaks(box.log().encode()), [line for line in box.log().splitlines() if leaks(line.encode())]
    for path in (tmp_path / "outbox").iterdir():
        assert not leaks(path.read_bytes()), path


def test_secrets_show_in_no_message_of_failing_commands(tmp_path: Path, guarded: Broker, tattler: int) -> None:
    box = box_of(tmp_path, guarded.port, http_port=tattler, password=MQTT_PASSWORD + "x")
    for options in ((), ("--json",)):
        code, said = box.run("check", *options)
        assert code == 69
        assert "refuses the credentials of user 'box'" in said
        assert not leaks(said.encode()), [line for line in said.splitlines() if leaks(line.encode())]
    box.config.write_text(box.config.read_text() + "colour = 1\n")
    code, said = box.run("run")
    assert code == 78
    assert not leaks(said.encode())


def test_the_search_finds_what_a_daemon_that_hides_nothing_shows(tmp_path: Path, guarded: Broker, tattler: int) -> None:
    """The same box with `redact` and `hide` taken out: else the tests above might pass because they look nowhere."""
    code = tmp_path / "code"
    shutil.copytree(ROOT / "edged", code / "edged", ignore=shutil.ignore_patterns("__pycache__"))
    for name, function in (("redact", "redact"), ("secrets", "hide")):
        with (code / "edged" / "core" / f"{name}.py").open("a") as file:
            file.write(f"\n\ndef {function}(text: str) -> str:\n    return text\n")
    box = box_of(tmp_path, guarded.port, http_port=tattler, code=code)
    with Subscriber(guarded.port, username="box", password=MQTT_PASSWORD) as subscriber, box:
        all_settled(subscriber, box.cameras)
        assert box.stop() == 0
        published = b"".join(message.payload for message in subscriber.messages)
    of_cameras = {*SECRETS} - {MQTT_PASSWORD}
    assert set(leaks(published)) == of_cameras
    assert set(leaks(box.log().encode())) == of_cameras
    _, said = box.run("check", "--json")
    assert set(leaks(said.encode())) == of_cameras


@pytest.mark.parametrize(
    "source",
    [
        f"rtsp://joe:{URL_PASSWORD}@127.0.0.1:1/s?{TOKEN}",
        f"rtsp://127.0.0.1:1/user=joe_password={PATH_PASSWORD}_channel=1",
        f"joe:{URL_PASSWORD}@127.0.0.1",
        f"rtsp:/joe:{URL_PASSWORD}@127.0.0.1/s",
        f"//joe:{URL_PASSWORD}@/dev/video0",
        f"gst:rtspsrc location=rtsp://127.0.0.1:1/s user-id=joe user-pw={URL_PASSWORD} ! appsink",
    ],
)
def test_secrets_on_the_command_line_are_not_repeated(tmp_path: Path, source: str) -> None:
    bundle = write_bundle(tmp_path / "model")
    jsonl = tmp_path / "seen.jsonl"
    for command in (
        ["edged", "detect", source, "--model", str(bundle), "--out", str(tmp_path / "out"), "--jsonl", str(jsonl)],
        ["edged", "bench", "--model", str(bundle), "--source", source, "--frames", "nonsense"],
        ["edged", "check", source],
        ["provisioning", "sample", source, "--out", str(tmp_path / "frames"), "--count", "1", "--verification", "0"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
        )
        assert done.returncode in {2, 65, 69}, done.stderr
        assert not leaks((done.stdout + done.stderr).encode()), done.stderr
        assert "Traceback" not in done.stderr
    assert not jsonl.exists() or not leaks(jsonl.read_bytes())


def test_state_is_for_the_daemon_alone(tmp_path: Path, guarded: Broker) -> None:
    with box_of(tmp_path, guarded.port) as box:
        box.wait_log("camera film: online")
        time.sleep(1)
        outbox = tmp_path / "outbox"
        for path in (outbox, *outbox.iterdir()):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
        assert box.stop() == 0


@pytest.mark.parametrize("file", ["", "manifest.json", "model.onnx"])
def test_model_that_others_may_write_is_refused_by_the_daemon(tmp_path: Path, file: str) -> None:
    box = Box(tmp_path, free_port(), cameras={"gate": {"source": "test:"}})
    box.write()
    (box.model / file).chmod(0o777)
    done = run_edged("run", "--config", box.config)
    assert done.returncode == 65
    assert "is writable by everyone; refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_ffmpeg_says_in_the_process_of_a_command_loses_its_secrets(tmp_path: Path, tattler: int) -> None:
    source = f"http://joe:{quote(KEY_PASSWORD, safe='')}@127.0.0.1:{tattler}/live.m3u8?{TOKEN}"
    bundle = str(write_bundle(tmp_path / "model"))
    for command in (
        ["edged", "detect", source, "--model", bundle],
        ["provisioning", "sample", source, "--out", str(tmp_path / "frames")],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
        )
        assert done.returncode == 69
        assert "first segment 'http://127.0.0.1:" in done.stderr, "FFmpeg quotes nothing any more"
        assert not leaks((done.stdout + done.stderr).encode()), done.stderr


def test_the_source_of_a_bench_is_no_argument_of_its_children(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    source = f"test:?size=64x64&seed={int.from_bytes(TOKEN.encode()[:3], 'big')}"
    command = [sys.executable, "-m", "edged", "bench", "--model", str(tmp_path / "model"), "--source", source]
    bench = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    seen: set[bytes] = set()

    def bare_loop_runs() -> bool:
        for pid in descendants(bench.pid):
            with contextlib.suppress(OSError):
                seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
        return any(b"edged.bench.bare" in arguments for arguments in seen)

    try:
        wait_for(bare_loop_runs, timeout_s=20, what="the bare loop")
        seen.discard(Path(f"/proc/{bench.pid}/cmdline").read_bytes())  # of a child that has not begun its program yet
        assert not [arguments for arguments in seen if source.encode() in arguments]
    finally:
        bench.terminate()
        bench.wait(20)


def test_what_systemd_is_told_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        remember([KEY_PASSWORD])
        Systemd(grace_s=1.0).stopping(f"the pipeline failed: {KEY_PASSWORD} of rtsp://joe:{URL_PASSWORD}@h/ is wrong")
        assert systemd.recv(1000) == b"STOPPING=1\nSTATUS=the pipeline failed: *** of rtsp://***@h/ is wrong"


@pytest.mark.parametrize("secret", SECRETS)
def test_leaks_are_recognised_in_every_form(secret: str) -> None:
    for form in forms(secret):
        assert set(leaks(b"before " + form + b" after")) >= {secret}
