"""The daemon as users run it: a process, real cameras' files, a real broker, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edged.publish import schemas
from tests.boxes import Box, write_video
from tests.brokers import Broker, Subscriber, free_port, wait_for
from tests.handmade import write_bundle


def detections(subscriber: Subscriber, camera: str) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in subscriber.payloads(f"edged/box/{camera}/detections")]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def file_camera(path: Path, **keys: object) -> dict[str, object]:
    return {"source": str(path), **keys}


def test_two_cameras_publish_valid_messages_that_mosquitto_sub_receives(tmp_path: Path, broker: Broker) -> None:
    cameras = {
        "gate": file_camera(write_video(tmp_path / "a.avi", colours=["red", "blue"])),
        "yard": file_camera(write_video(tmp_path / "b.avi", colours=["green"])),
    }
    command = [
        "mosquitto_sub",
        "-h",
        "127.0.0.1",
        "-p",
        str(broker.port),
        "-t",
        "edged/#",
        "-T",
        "edged/+/+/snapshot/+",
        "-F",
        "%t\t%r\t%p",
        "-C",
        "60",
    ]
    with Box(tmp_path, broker.port, cameras=cameras, extra="[publish]\nstats_interval_s = 0.5"):
        printed = subprocess.run([*command, "-W", "30"], capture_output=True, text=True, check=True).stdout
    seen: dict[str, list[dict[str, Any]]] = {}
    for line in printed.splitlines():
        topic, _, payload = line.split("\t", 2)
        kind = topic.rpartition("/")[2]
        if kind == "status":
            assert payload in {"online", "offline"}
            continue
        message = json.loads(payload)
        jsonschema.validate(message, schemas.load(kind))
        seen.setdefault(topic, []).append(message)
    labels = {
        camera: {
            found["label"] for message in seen[f"edged/box/{camera}/detections"] for found in message["detections"]
        }
        for camera in cameras
    }
    assert labels == {"gate": {"red", "blue"}, "yard": {"green"}}
    box = next(f["box"] for m in seen["edged/box/gate/detections"] for f in m["detections"] if f["label"] == "red")
    assert box == pytest.approx([24, 56, 88, 120], abs=1)
    assert seen["edged/box/info"][0]["cameras"] == ["gate", "yard"]
    assert seen["edged/box/stats"]


def test_fast_file_is_published_whole_and_the_daemon_ends(tmp_path: Path, broker: Broker) -> None:
    camera = file_camera(write_video(tmp_path / "a.avi", frames=37), pace="fast", loop=False)
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras={"gate": camera}) as box:
        assert box.wait() == 0
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
    assert [message["sequence"] for message in detections(subscriber, "gate")] == list(range(37))


def test_sigterm_says_offline_and_ends_within_five_seconds(tmp_path: Path, broker: Broker) -> None:
    cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras=cameras) as box:
        wait_for(lambda: detections(subscriber, "gate"), timeout_s=20, what="detections")
        assert subscriber.last("edged/box/status") == b"online"
        began = time.monotonic()
        assert box.stop() == 0
        assert time.monotonic() - began < 5
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
        assert subscriber.last("edged/box/gate/status") == b"offline"


def test_kill_leaves_the_last_will_and_no_camera_process(tmp_path: Path, broker: Broker) -> None:
    cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras=cameras) as box:
        wait_for(lambda: detections(subscriber, "gate"), timeout_s=20, what="detections")
        assert box.process is not None
        family = descendants(box.process.pid)
        assert family
        box.signal(signal.SIGKILL)
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="the last will")
        wait_for(lambda: not [pid for pid in family if Path(f"/proc/{pid}").exists()], what="the children end")


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found += [int(entry.name), *descendants(int(entry.name))]
    return found


def test_absent_broker_at_start_does_not_stop_detection(tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "broker"
    folder.mkdir()
    cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
    broker = Broker(folder, port)
    with Box(tmp_path, port, cameras=cameras, extra="[publish]\nstats_interval_s = 0.2") as box:
        box.wait_log("camera gate: online")
        time.sleep(1)
        broker.start()
        try:
            with Subscriber(port) as subscriber:
                wait_for(lambda: subscriber.last("edged/box/stats"), timeout_s=20, what="statistics")
                stats = json.loads(subscriber.last("edged/box/stats"))
                assert stats["frames"] > 0
                assert stats["publish"]["dropped"]["offline"] > 0
        finally:
            broker.kill()
        assert box.process is not None and box.process.poll() is None


def test_killed_camera_process_is_replaced(tmp_path: Path, broker: Broker) -> None:
    cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras=cameras) as box:
        wait_for(lambda: detections(subscriber, "gate"), timeout_s=20, what="detections")
        assert box.process is not None
        for pid in descendants(box.process.pid):
            if b"gate" in Path(f"/proc/{pid}/comm").read_bytes():
                os.kill(pid, signal.SIGKILL)
                break
        else:
            pytest.fail("no process carries the camera's name")
        wait_for(lambda: b'"offline"' in subscriber.last("edged/box/gate/health"), what="offline")
        lost_at = moment(json.loads(subscriber.last("edged/box/gate/health"))["since"])
        # A frame from before the kill may be with the detector still, and be published after it.
        wait_for(
            lambda: moment(detections(subscriber, "gate")[-1]["captured_at"]) > lost_at,
            timeout_s=20,
            what="detections again",
        )
        assert json.loads(subscriber.last("edged/box/gate/health"))["reconnects"] == 1


def test_sighup_adds_and_removes_cameras_without_touching_the_others(tmp_path: Path, broker: Broker) -> None:
    video = write_video(tmp_path / "a.avi")
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras={"gate": file_camera(video)}) as box:
        wait_for(lambda: detections(subscriber, "gate"), timeout_s=20, what="detections")
        box.cameras["yard"] = file_camera(video)
        box.write()
        box.signal(signal.SIGHUP)
        wait_for(lambda: detections(subscriber, "yard"), timeout_s=20, what="detections of the new camera")
        del box.cameras["yard"]
        box.write()
        box.signal(signal.SIGHUP)
        wait_for(lambda: json.loads(subscriber.last("edged/box/info"))["cameras"] == ["gate"], what="info")
        assert json.loads(subscriber.last("edged/box/gate/health"))["reconnects"] == 0
        sequences = [message["sequence"] for message in detections(subscriber, "gate")]
        assert sequences == sorted(set(sequences))


def test_sighup_applies_thresholds_and_classes_at_once(tmp_path: Path, broker: Broker) -> None:
    cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras=cameras) as box:
        wait_for(lambda: detections(subscriber, "gate"), timeout_s=20, what="detections")
        box.extra = f'[model]\nbundle = {json.dumps(str(box.model))}\nclasses = ["blue"]'
        box.write()
        box.signal(signal.SIGHUP)
        box.wait_log("reloaded")
        wait_for(
            lambda: [found["label"] for found in detections(subscriber, "gate")[-1]["detections"]] == ["blue"],
            what="only blue",
        )


def test_sighup_with_a_bad_file_keeps_the_old_and_says_why(tmp_path: Path, broker: Broker) -> None:
    cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras=cameras) as box:
        wait_for(lambda: detections(subscriber, "gate"), timeout_s=20, what="detections")
        box.config.write_text("[mqtt\n")
        box.signal(signal.SIGHUP)
        box.wait_log("reload refused, the old configuration stays: ")
        count = len(detections(subscriber, "gate"))
        wait_for(lambda: len(detections(subscriber, "gate")) > count + 5, what="detections go on")
        assert "not valid TOML" in box.log()
        assert "Traceback" not in box.log()


def test_sighup_says_what_needs_a_restart_and_keeps_it_as_it_was(tmp_path: Path, broker: Broker) -> None:
    cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras=cameras) as box:
        wait_for(lambda: detections(subscriber, "gate"), timeout_s=20, what="detections")
        box.extra = '[publish]\ndetections = "nonempty"'
        box.write()
        box.signal(signal.SIGHUP)
        box.wait_log("reloaded")
        assert "[publish] changed: takes effect at the next restart" in box.log()
        count = len(detections(subscriber, "gate"))
        wait_for(lambda: len(detections(subscriber, "gate")) > count + 5, what="detections go on")


def test_sighup_swaps_the_model_without_losing_frames(tmp_path: Path, broker: Broker) -> None:
    camera = file_camera(write_video(tmp_path / "a.avi", frames=400), pace="fast", loop=False)
    other = write_bundle(tmp_path / "models" / "other", name="other")
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras={"gate": camera}) as box:
        wait_for(lambda: len(detections(subscriber, "gate")) > 20, timeout_s=20, what="detections")
        box.extra = f"[model]\nbundle = {json.dumps(str(other))}"
        box.write()
        box.signal(signal.SIGHUP)
        assert box.wait(timeout_s=40) == 0
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
    messages = detections(subscriber, "gate")
    assert [message["sequence"] for message in messages] == list(range(400))
    models = [message["model"] for message in messages]
    assert models == sorted(models, reverse=True)  # squares, then other, changed once
    assert set(models) == {"squares", "other"}


def test_second_instance_is_refused_and_names_the_first(tmp_path: Path, broker: Broker) -> None:
    cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
    with Box(tmp_path, broker.port, cameras=cameras) as first:
        first.wait_log("camera gate: online")
        second = Box(tmp_path, broker.port, cameras=cameras).start()
        assert second.wait() == 78
        assert first.process is not None
        assert f"'box' runs already on this machine, process {first.process.pid} of user" in second.log()


def test_systemd_hears_ready_status_watchdog_and_stopping(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(address))
        server.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        cameras = {"gate": file_camera(write_video(tmp_path / "a.avi"))}
        with Box(tmp_path, broker.port, cameras=cameras) as box:
            heard = hear_until(server, "READY=1")
            assert "WATCHDOG=1" not in heard.split("READY=1")[0] or "STATUS=" in heard
            assert "STATUS=1 of 1 cameras" in hear_until(server, "frames/s, broker connected")
            assert "WATCHDOG=1" in hear_until(server, "WATCHDOG=1")
            box.signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in hear_until(server, "RELOADING=1")
            hear_until(server, "READY=1")
            box.signal(signal.SIGTERM)
            hear_until(server, "STOPPING=1")
            assert box.wait() == 0


def hear_until(server: socket.socket, text: str) -> str:
    heard = ""
    while text not in heard:
        heard += server.recv(4096).decode() + "\n"
    return heard


@pytest.mark.parametrize(
    ("spoil", "code", "message"),
    [
        pytest.param(lambda box: box.config.write_text("x = 1\n"), 78, "[x]: unknown key", id="configuration"),
        pytest.param(
            lambda box: (box.model / "manifest.json").unlink(), 65, "manifest.json cannot be read", id="bundle"
        ),
        pytest.param(lambda box: (box.model / "model.onnx").write_bytes(b"x"), 65, "expected", id="model"),
        pytest.param(lambda box: box.config.unlink(), 78, "not found; copy the commented example", id="no-file"),
    ],
)
def test_run_refuses_to_start_with_one_line_and_its_code(tmp_path: Path, spoil: Any, code: int, message: str) -> None:
    from tests.boxes import run_edged

    box = Box(tmp_path, free_port(), cameras={"gate": {"source": "test:"}})
    box.write()
    spoil(box)
    done = run_edged("run", "--config", box.config)
    assert done.returncode == code
    errors = [line for line in done.stderr.splitlines() if line.startswith("edged: error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert "Traceback" not in done.stderr
