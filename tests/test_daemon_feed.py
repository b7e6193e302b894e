"""The feed of the real daemon: pictures with their boxes, snapshots, a reload, the end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from tests.boxes import Box, write_video
from tests.brokers import Broker, wait_for
from tests.feed.listening import Heard, Listener

TRACK = "[track]\nconfirm_s = 0.1\nlost_s = 2.0"
AREA = '[[camera.zone]]\nname = "all"\npoints = [[0, 0], [1, 0], [1, 1], [0, 1]]'
LINE = '\n[[camera.line]]\nname = "middle"\npoints = [[0, 0.5], [1, 0.5]]'


def a_box(folder: Path, port: int, *, more: str = "", areas: str = AREA) -> Box:
    video = write_video(folder / "a.avi", frames=40, fps=20.0)
    return Box(
        folder, port, cameras={"gate": {"source": str(video), "frozen_after_s": 0}}, extra=TRACK + more, areas=areas
    )


def place_of(box: Box) -> Path:
    return box.folder / "state" / "edged" / box.device / "feed.sock"


def socket_of(box: Box) -> Path:
    wait_for(place_of(box).exists, timeout_s=20, what="the feed's socket")
    return place_of(box)


def test_pictures_snapshots_and_a_reload(broker: Broker, tmp_path: Path) -> None:
    with a_box(tmp_path, broker.port) as box, Listener(socket_of(box)) as listener:
        listener.kind("camera", state="online", timeout_s=30)
        listener.ask(kind="picture", camera="gate", side=320)
        message, jpeg = listener.kind("picture")
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        for found in message["detections"]:
            x1, y1, x2, y2 = (round(side) for side in found["box"])
            blue, _, red = picture[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8].mean(axis=(0, 1))
            assert (found["label"] == "red") == (red > 200), "the box lies on its square"
            assert (found["label"] == "blue") == (blue > 200)
        assert {found["label"] for found in message["detections"]} == {"red", "blue"}

        stored, _ = listener.until(_has_snapshot, timeout_s=20)
        listener.ask(kind="snapshot", event=stored["event"])
        _, boxed = listener.kind("snapshot", event=stored["event"])
        assert boxed.startswith(b"\xff\xd8")

        cameras, _ = listener.kind("cameras")
        assert [area["name"] for area in cameras["cameras"][0]["areas"]] == ["all"]
        box.areas = AREA + LINE
        box.write()
        box.signal(signal.SIGHUP)
        listener.until(lambda heard: [*_areas(heard)] == ["all", "middle"], timeout_s=20)

        assert box.stop() == 0
        ends = [listener.kind("event", type="end", event=each)[0]["because"] for each in _started(listener)]
        assert ends == [["shutdown"]] * len(ends)
        assert ends
    assert not place_of(box).exists()


def _has_snapshot(heard: Heard) -> bool:
    message = heard[0]
    return message["kind"] == "event" and bool(message["snapshot"]) and message["snapshot"]["state"] == "stored"


def _areas(heard: Heard) -> Iterator[str]:
    if heard[0]["kind"] == "cameras":
        yield from (area["name"] for area in heard[0]["cameras"][0]["areas"])


def _started(listener: Listener) -> set[str]:
    return {said["event"] for said, _ in listener.heard if said["kind"] == "event" and said["type"] == "start"}


def test_without_a_place_for_it_the_daemon_says_so_and_detects(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "state" / "edged" / "box").mkdir(parents=True)
    (tmp_path / "state" / "edged" / "box" / "feed.sock").write_text("in the way")
    with a_box(tmp_path, broker.port) as box:
        box.wait_log("no feed, nobody can look: [feed] socket: ")
        box.wait_log("camera gate: online")
        assert box.stop() == 0


def test_a_configured_place_that_cannot_be_used_is_a_wrong_configuration(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with a_box(tmp_path, broker.port, more=f'\n[feed]\nsocket = "{tmp_path}/file"') as box:
        assert box.wait() == 78
        assert "is there, and is no socket" in box.log()


def test_it_may_be_off(broker: Broker, tmp_path: Path) -> None:
    with a_box(tmp_path, broker.port, more="\n[feed]\nenabled = false") as box:
        box.wait_log("camera gate: online")
        assert not place_of(box).exists()
        assert box.stop() == 0
