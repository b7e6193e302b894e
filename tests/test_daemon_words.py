"""Passwords that are words or numbers of our own: what the daemon says in its own words stays whole."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from edged.publish import schemas
from tests.boxes import Box, write_video
from tests.brokers import Broker, Subscriber, free_port, wait_for, write_passwords

# Of a line of the log, states, names, labels, topics, keys, a backend, systemd's words, a Boolean, a number.
WORDS = ["camera", "online", "offline", "gate", "box", "red", "edged", "detections", "label", "cpu", "ready"]
WORDS += ["status", "watchdog", "true", "4"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Its password is `1`."""
    folder = tmp_path / "broker"
    folder.mkdir()
    write_passwords(folder / "passwords", box="1")
    broker = Broker(folder, free_port(), settings=("allow_anonymous false", f"password_file {folder}/passwords"))
    yield broker.start()
    broker.kill()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield systemd


def test_a_password_that_is_a_word_or_a_number_spoils_nothing_that_others_read(
    tmp_path: Path, broker: Broker, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGED_MQTT__USERNAME", "box")
    monkeypatch.setenv("EDGED_MQTT__PASSWORD", "1")
    gone = {"username": "viewer", "source": f"rtsp://127.0.0.1:{free_port()}/s"}
    cameras: dict[str, dict[str, object]] = {f"cam{i}": {**gone, "password": word} for i, word in enumerate(WORDS)}
    cameras["gate"] = {"source": str(write_video(tmp_path / "a.avi"))}
    told: set[str] = set()

    def ready() -> bool:
        while True:
            try:
                told.update(systemd.recv(4096).decode().splitlines())
            except BlockingIOError:
                return {"READY=1", "WATCHDOG=1"} <= told and any("1 of 16 cameras" in line for line in told)

    box = Box(tmp_path, broker.port, cameras=cameras, extra="[publish]\nstats_interval_s = 0.5")
    with Subscriber(broker.port, username="box", password="1") as subscriber, box:
        wait_for(lambda: subscriber.payloads("edged/box/gate/detections"), timeout_s=20, what="detections")
        wait_for(lambda: b'"offline"' in subscriber.last("edged/box/cam0/health"), timeout_s=20, what="health")
        wait_for(lambda: subscriber.payloads("edged/box/stats"), timeout_s=20, what="statistics")
        wait_for(ready, timeout_s=20, what=f"systemd knows: {told}")
        assert box.stop() == 0
    read = {message.topic: message.payload for message in subscriber.messages}
    for topic, payload in read.items():
        if (kind := topic.rpartition("/")[2]) != "status" and "/snapshot/" not in topic:
            jsonschema.validate(json.loads(payload), schemas.load(kind))
    assert {read["edged/box/status"], read["edged/box/cam0/status"]} == {b"offline"}
    found = json.loads(subscriber.payloads("edged/box/gate/detections")[0])["detections"]
    assert {thing["label"] for thing in found} == {"red", "blue"}
    info = json.loads(read["edged/box/info"])
    assert info["cameras"] == [*cameras]
    assert info["backend"].startswith("cpu fp32, ")
    assert "camera gate: online" in box.log()
    assert "camera cam0: offline: rtsp://***@" in box.log()
