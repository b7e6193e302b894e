"""`edged check`, `detect` and `demo` as people type them."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from edged.publish import schemas
from tests.boxes import Box, run_edged, squares_picture, write_video
from tests.brokers import Broker, free_port, make_certificates
from tests.capture.snapshot_server import snapshot_server
from tests.capture.support import playing_server
from tests.capture.videos import encoded, joined, transport_stream, write_pictures
from tests.handmade import write_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("model") / "squares")


def sound() -> bytes:
    """A tenth of a second of silence, as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    return buffer.getvalue()


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_detect_pictures_folders_and_videos_into_pictures_videos_and_json_lines(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("p2.png", "p10.png"):
        cv2.imwrite(str(folder / name), squares_picture())
    (folder / "notes.txt").write_text("not a picture")
    (folder / "._p2.png").write_bytes(b"\0\5\x16\7what macOS keeps beside p2.png")
    video = write_video(tmp_path / "clip.avi", frames=12, colours=["green"])
    done = run_edged(
        "detect", folder, video, "--model", model, "--out", tmp_path / "out", "--jsonl", tmp_path / "all.jsonl"
    )
    assert done.returncode == 0, done.stderr
    assert "14 frames on cpu fp32" in done.stdout and "12 green, 2 " in done.stdout
    messages = lines_of(tmp_path / "all.jsonl")
    assert [message["source"] for message in messages[:3]] == [
        str(folder / "p2.png"),
        str(folder / "p10.png"),
        str(video),
    ]
    schema = {**schemas.load("detections"), "additionalProperties": True}
    for message in messages:
        jsonschema.validate(message, schema)
    written = cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4"))
    assert int(written.get(cv2.CAP_PROP_FRAME_COUNT)) == 12
    before, after = squares_picture(), cv2.imread(str(tmp_path / "out" / "p2.jpg"))
    assert after is not None and after.shape == before.shape
    assert np.abs(after.astype(int) - before)[56:120, 24:27].max() > 50  # the box is drawn on the square's edge


def test_detect_sees_in_interlaced_video_what_is_there(tmp_path: Path, model: Path) -> None:
    options = {"x264-params": "interlaced=1:tff=1", "crf": "10"}
    video = write_pictures(
        tmp_path / "clip.mp4", "libx264", "yuv444p", [squares_picture(colours=["green"])] * 12, options=options
    )
    done = run_edged("detect", video, "--model", model)
    assert done.returncode == 0, done.stderr
    assert "12 frames on cpu fp32" in done.stdout and "12 green" in done.stdout


def test_detect_counts_frames_that_are_no_pictures_as_errors(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "clip.h264"
    pieces = encoded("libx264", "yuv420p", range(24))
    path.write_bytes(joined(pieces[:10], [(pieces[10][0][:40], False, 10)], pieces[11:]))
    done = run_edged("detect", path, "--model", model)
    assert done.returncode == 65
    errors = done.stderr.splitlines()
    assert len(errors) == 2 and all(str(path) in error for error in errors)
    assert "damaged or lost; waiting for a key frame" in errors[0]
    assert re.search(r"\d frames could not be decoded$", errors[1])


def test_detect_to_standard_output_is_only_json(tmp_path: Path, model: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), squares_picture())
    done = run_edged("detect", tmp_path / "a.png", "--model", model, "--jsonl", "-", "--classes", "blue")
    (message,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert [found["label"] for found in message["detections"]] == ["blue"]


def test_detect_goes_on_after_a_bad_source_and_returns_its_code(tmp_path: Path, model: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), squares_picture())
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing of a picture")
    (tmp_path / "empty.png").touch()
    sources = [tmp_path / name for name in ("bad.jpg", "missing.mp4", "empty.png", "good.png")]
    done = run_edged("detect", *sources, "--model", model)
    assert done.returncode == 65  # of the first
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("edged: error: ")]
    for name, error in zip(("bad.jpg", "missing.mp4", "empty.png"), errors, strict=True):
        assert error.count(str(tmp_path / name)) == 1
    assert "1 frames on" in done.stdout


@pytest.mark.parametrize("content", [b"", b"ftyp and then no video" * 99, sound()], ids=["empty", "noise", "sound"])
def test_detect_tells_a_damaged_file_from_a_missing_one(tmp_path: Path, model: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    assert run_edged("detect", path, "--model", model).returncode == 69
    path.write_bytes(content)
    done = run_edged("detect", path, "--model", model)
    assert done.returncode == 65
    assert done.stdout == "no frame was looked at\n"
    last = done.stderr.splitlines()[-1]  # FFmpeg may have said something before
    assert re.fullmatch(r"edged: error: .*clip.mp4'? (is empty|cannot be opened: no video).*", last)


def test_detect_in_a_camera_that_signed_for_itself(model: Path, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with snapshot_server(certificate=certificates.file("server.pem")) as server:
        common = ("detect", f"https://localhost:{server.port}/snap.jpg", "--model", model, "--frames", "1")
        refused = run_edged(*common)
        assert (refused.returncode, "its certificate is not accepted" in refused.stderr) == (69, True)
        for accepting in (("--no-verify",), ("--ca-file", certificates.file("ca.pem"))):
            done = run_edged(*common, *accepting)
            assert done.returncode == 0, done.stderr


def test_detect_copes_with_a_file_name_that_is_not_utf8(tmp_path: Path, model: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(path)).write_bytes(cv2.imencode(".png", squares_picture())[1].tobytes())
    command = [
        sys.executable.encode(),
        b"-m",
        b"edged",
        b"detect",
        path,
        b"--model",
        os.fsencode(model),
        b"--jsonl",
        b"-",
    ]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"].endswith("caf\ufffd.png")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["nowhere/*.jpg"], 2, "pattern nowhere/*.jpg holds no picture or video", id="pattern"),
        pytest.param(
            ["x.png", "--confidence", "7"], 2, "--confidence: Input should be less than 1, got 7.0", id="range"
        ),
        pytest.param(
            ["x.png", "--classes", "cat"], 78, "'cat' is not a class of squares; it knows red, gr", id="class"
        ),
        pytest.param(["x.png", "--confidence", "0.0001"], 78, "below 0.001, the lowest that squares reports", id="low"),
        pytest.param(["ftp://h/x"], 69, "scheme ftp:// is not supported", id="scheme"),
        pytest.param(["rtsp://me:secret@127.0.0.1:1/x"], 69, "rtsp://***@127.0.0.1:1/x", id="refused-stream"),
        pytest.param(["/dev/video99"], 69, "/dev/video99", id="no-camera"),
    ],
)
def test_detect_refuses(tmp_path: Path, model: Path, arguments: list[str], code: int, message: str) -> None:
    done = run_edged("detect", *arguments, "--model", model, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_detect_given_weights_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "yolov5n.pt").write_bytes(b"PK")
    done = run_edged("detect", "x.png", "--model", tmp_path / "yolov5n.pt")
    assert done.returncode == 65
    assert "run: edged-provision import" in done.stderr


def test_check_tries_every_part_and_tells_in_lines_and_json(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder, free_port()).start()
    try:
        cameras: dict[str, dict[str, object]] = {"gate": {"source": str(write_video(tmp_path / "a.avi"))}}
        box = Box(tmp_path, broker.port, cameras=cameras)
        done = run_edged("check", "--config", box.write())
        assert done.returncode == 0, done.stdout
        assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
            "ok    configuration",
            "ok    model",
            "ok    camera gate",
            "ok    broker",
        ]
        box.cameras["yard"] = {"source": "missing.mp4"}
        report = json.loads(run_edged("check", "--json", "--config", box.write()).stdout)
    finally:
        broker.kill()
    assert not report["ok"] and report["exit_code"] == 69
    assert {part["part"]: part["ok"] for part in report["parts"]}["camera yard"] is False


def test_check_waits_for_a_distant_key_frame(tmp_path: Path) -> None:
    pieces = encoded("libx264", "yuv420p", [index % 50 for index in range(180)], options={"g": "151"})
    with playing_server(transport_stream(pieces[1:])) as port:  # the next key frame comes after 6 s
        camera = {
            "source": f"HTTP://127.0.0.1:{port}/cam",
            "open_timeout_s": 2.5,  # a busy machine takes one to start a process
            "read_timeout_s": 1.0,  # together, with a second of slack, less than that
        }
        done = run_edged("check", "--config", Box(tmp_path, free_port(), cameras={"gate": camera}).write())
    assert re.search(r"^ok    camera gate: .*, 160x120, .*FFMPEG h264", done.stdout, re.MULTILINE), done.stdout


def test_check_names_a_broker_behind_a_websocket(tmp_path: Path) -> None:
    broker = Broker(tmp_path, free_port(), web_port=free_port()).start()
    web = 'transport = "websockets"\npath = "/mqtt?signature=hunter2"'
    try:
        box = Box(tmp_path, broker.web_port, cameras={"gate": {"source": "test:"}}, mqtt=web)
        done = run_edged("check", "--config", box.write())
        assert f"ok    broker: ws://127.0.0.1:{broker.web_port}/mqtt, MQTT 3.1.1, not encrypted" in done.stdout
        box.port = broker.port
        wrong = run_edged("check", "--config", box.write())
    finally:
        broker.kill()
    assert wrong.returncode == 69
    assert f"FAIL  broker: broker ws://127.0.0.1:{broker.port}/mqtt closed the connection" in wrong.stdout
    assert "hunter2" not in done.stdout + done.stderr + wrong.stdout + wrong.stderr


def test_check_reports_a_refused_port(tmp_path: Path) -> None:
    port = free_port()
    done = run_edged("check", "--config", Box(tmp_path, port, cameras={"gate": {"source": "test:"}}).write())
    assert done.returncode == 69
    assert "FAIL  broker: " in done.stdout and str(port) in done.stdout


def test_demo_shows_detections_and_ends_by_itself(tmp_path: Path, model: Path) -> None:
    video = write_video(tmp_path / "clip.avi", colours=["red", "green"])
    done = run_edged("demo", "--source", video, "--model", model, "--frames", "15")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 red (1.00)") == done.stdout.count("1 green (1.00)") == 15
    assert "15 red" in done.stdout.partition("boxes ")[2]
    assert "came; there now: " in done.stdout and "1 red" in done.stdout.partition("objects ")[2]
    assert "drops     " in done.stdout


def test_demo_with_the_embedded_broker(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_DEMO_BROKER", "amqtt")
    video = write_video(tmp_path / "clip.avi", colours=["red"])
    done = run_edged("demo", "--source", video, "--model", model, "--frames", "5")
    assert done.returncode == 0, done.stderr
    assert "broker amqtt" in done.stdout and done.stdout.count("1 red (1.00)") == 5


def test_demo_ends_cleanly_on_ctrl_c(model: Path) -> None:
    command = [sys.executable, "-m", "edged", "demo", "--source", "test:", "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        while "demo-camera #" not in process.stdout.readline():
            pass
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(10) == 0
    assert "frames    " in rest


def test_demo_with_a_source_that_is_not_there_says_so_and_ends(model: Path) -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "edged", "demo", "--source", "nowhere.mp4", "--model", str(model), "--frames", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        while "is offline: " not in process.stdout.readline():
            assert time.monotonic() - began < 30
        os.killpg(process.pid, signal.SIGINT)
        process.stdout.read()
        assert process.wait(10) == 0


def test_demo_without_arguments_finds_people_in_the_rendered_street_with_the_model_that_ships() -> None:
    done = run_edged("demo", "--frames", "20")
    assert done.returncode == 0, done.stderr
    assert "a rendered street scene with " in done.stdout
    people = [line for line in done.stdout.splitlines() if " person (" in line]
    assert len(people) >= 15


def test_every_command_explains_itself() -> None:
    for command in ("run", "check", "detect", "demo"):
        done = run_edged(command, "--help")
        assert done.returncode == 0
        assert f"edged {command}" in done.stdout
