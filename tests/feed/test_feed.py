"""The feed with real sockets: what clients hear, what they get when they ask, and what a bad one costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.core.addresses import remember_address
from edged.core.states import CameraState, DeviceInfo
from edged.core.types import Detections, FrameResult
from edged.core.watched import Area, Watched
from edged.feed.client import MOST_WAITING
from edged.feed.listener import listen
from edged.feed.pictures import Pictures
from edged.feed.server import MOST_CLIENTS
from edged.feed.sink import Feed
from edged.publish.counters import MessageTally
from tests.brokers import wait_for
from tests.fakes import frame_of
from tests.feed.listening import Listener
from tests.publish.results import ORIGIN, counts, event, result, statistics

DRIVE = Area("zone", "drive", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)), ("person",))
CAMERAS = (Watched("gate", labels=("person",), areas=(DRIVE,)), Watched("yard"))
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
ULID = "01KAZ0000000000000000000AA"


class Fed:
    """A feed and its stage."""

    def __init__(self, path: Path) -> None:
        self.path, self.pictures = path, Pictures()
        self.snapshots: dict[tuple[str, bool], bytes | OSError] = {}
        self.feed = Feed(
            listen(path, group=""),
            ORIGIN,
            cameras=CAMERAS,
            pictures=self.pictures,
            counters=lambda: MessageTally().snapshot(waiting=3),
            read_snapshot=self._read,
        )

    def _read(self, name: str, clean: bool) -> bytes | None:  # noqa: FBT001
        found = self.snapshots.get((name, clean))
        if isinstance(found, OSError):
            raise found
        return found

    def settle(self) -> None:
        """Until everything that was said has reached the feed's thread."""
        wait_for(lambda: not self.feed._server._inbox, what="the feed's thread has heard")

    def show(self, sequence: int = 0, *, camera: str = "gate", grey: int = 100) -> FrameResult:
        """A frame passes the stage, and its result the sink."""
        pixels = np.full((90, 160, 3), grey, np.uint8)
        frame = frame_of(pixels, camera=camera, sequence=sequence)
        box = Detections(np.array([[1, 2, 30, 40]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int32))
        seen = FrameResult(frame.meta, box, {"waiting": 1.0, "detect": 2.0, "total": 3.0})
        assert self.pictures.process(frame, seen) is seen
        self.feed.publish(seen)
        return seen


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    fed = Fed(tmp_path / "feed.sock")
    yield fed
    fed.feed.close()


def test_whoever_connects_is_told_what_holds(fed: Fed) -> None:
    fed.feed.info(DeviceInfo("1.0", "yolov5n", "cpu fp32", ("gate", "yard"), NOW))
    fed.feed.camera_state(CameraState("gate", "online", "", NOW, 1, "FFMPEG h264", (1280, 720), 25.0))
    fed.feed.camera_state(CameraState("gate", "offline", "no answer", NOW, 2))
    fed.feed.objects(counts(2))
    fed.feed.event(event("start"))
    fed.feed.event(event("start", ulid="01KAZ0000000000000000000AB"))
    fed.feed.event(event("end", 1, ulid="01KAZ0000000000000000000AB"))
    fed.feed.statistics(statistics())
    fed.settle()
    with Listener(fed.path) as late:
        message, _ = late.kind("statistics")
        assert message["publish"]["waiting"] == 3
        assert message["cameras"]["gate"]["captured"] == 1801
        heard = [each for each, _ in late.heard]
    assert heard[0]["kind"] == "hello"
    assert heard[0]["device"] == "box"
    cameras = next(each["cameras"] for each in heard if each["kind"] == "cameras")
    assert cameras[0] == {
        "camera": "gate",
        "labels": ["person"],
        "followed": True,
        "pictured": True,
        "areas": [{"kind": "zone", "name": "drive", "points": [[0, 0], [1, 0], [1, 1]], "labels": ["person"]}],
    }
    states = [each for each in heard if each["kind"] == "camera"]
    assert [(each["state"], each["reason"]) for each in states] == [("offline", "no answer")]
    assert [each["event"] for each in heard if each["kind"] == "event"] == [ULID], "the other is over"
    assert [each["labels"] for each in heard if each["kind"] == "objects"] == [{"person": {"all": 2, "active": 2}}]
    assert next(each for each in heard if each["kind"] == "info")["classes"] == list(ORIGIN.classes)


def test_everybody_hears_what_happens_in_order(fed: Fed) -> None:
    with Listener(fed.path) as one, Listener(fed.path) as two:
        for each in (one, two):
            each.kind("cameras")
        for revision, kind in enumerate(("start", "update", "end")):
            fed.feed.event(event(kind, revision))  # type: ignore[arg-type]
        fed.feed.publish(result(7, objects=2))
        for each in (one, two):
            detections, _ = each.kind("detections")
            assert (detections["sequence"], len(detections["detections"])) == (7, 2)
            assert [said["type"] for said, _ in each.heard if said["kind"] == "event"] == ["start", "update", "end"]


def test_secrets_stay_in_the_daemon(fed: Fed) -> None:
    fed.feed.camera_state(CameraState("gate", "offline", "rtsp://viewer:hunter22@10.0.0.9/s: no answer", NOW, 0))
    with Listener(fed.path) as listener:
        message, _ = listener.kind("camera")
    assert "hunter22" not in str(message)


def test_a_picture_comes_with_the_detections_of_that_very_frame(fed: Fed) -> None:
    with Listener(fed.path) as listener:
        listener.kind("cameras")
        listener.ask(kind="picture", camera="gate", side=80)
        wait_for(lambda: fed.pictures._wanted, what="the camera is wanted")
        fed.show(1, camera="yard")
        fed.show(2)
        fed.show(3)
        message, jpeg = listener.kind("picture")
    assert (message["camera"], message["sequence"], message["size"]) == ("gate", 2, [160, 90])
    assert message["detections"][0]["box"] == [1, 2, 30, 40]
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (45, 80, 3)
    assert abs(int(picture.mean()) - 100) < 3
    assert sum(message["kind"] == "picture" for message, _ in listener.heard) == 1, "one picture for one question"


def test_a_frame_is_encoded_once_however_many_ask(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    before = fed.feed._server._answers.picture

    def count(taken: object, *, most_side: int) -> bytes:
        encoded.append(most_side)
        return before(taken, most_side=most_side)  # type: ignore[arg-type]

    monkeypatch.setattr(fed.feed._server._answers, "picture", count)
    listeners = [Listener(fed.path) for _ in range(5)]
    for number, listener in enumerate(listeners):
        listener.kind("cameras")
        listener.ask(kind="picture", camera="gate", side=64 + number)
    wait_for(lambda: sum("gate" in each.asked for each in fed.feed._server._clients.values()) == 5, what="all asked")
    fed.show(1)
    got = {listener.kind("picture")[1] for listener in listeners}
    assert len(got) == 1
    assert encoded == [68], "once, as large as the largest that was asked for"
    for listener in listeners:
        listener.socket.close()


def test_nothing_is_copied_or_encoded_while_nobody_looks(fed: Fed) -> None:
    fed.show(1)
    assert fed.pictures.take() is None
    assert not fed.feed._server._inbox
    with Listener(fed.path) as listener:
        listener.ask(kind="picture", camera="gate", side=80)
        wait_for(lambda: fed.pictures._wanted, what="the camera is wanted")
    wait_for(lambda: not fed.pictures._wanted, what="whoever asked is gone")
    fed.show(2)
    assert fed.pictures.take() is None


def test_a_camera_that_is_not_there_is_said_to_be_none(fed: Fed) -> None:
    with Listener(fed.path) as listener:
        for number in range(100):
            listener.ask(kind="picture", camera=f"none{number}", side=80)
        listener.kind("picture", camera="none99", problem="there is no such camera")
        listener.ask(kind="picture", camera="yard", side=80)
        wait_for(lambda: fed.pictures._wanted == {"yard"}, what="only the one that there is is wanted")
        fed.feed.watch(CAMERAS[:1])
        listener.kind("picture", camera="yard", problem="there is no such camera")
    assert not any(client.asked for client in fed.feed._server._clients.values())


def test_a_picture_names_the_classes_of_the_model_that_saw_it(fed: Fed) -> None:
    with Listener(fed.path) as listener:
        listener.ask(kind="picture", camera="gate", side=80)
        wait_for(lambda: fed.pictures._wanted, what="the camera is wanted")
        taken = fed.pictures.on_taken
        fed.pictures.on_taken = lambda: None  # until the other model is there
        fed.show(1)
        fed.feed.info(DeviceInfo("1.0", "old", "cpu", ("gate",), NOW))
        fed.feed.set_model("other", ("car",))
        fed.pictures.on_taken = taken
        taken()
        message, _ = listener.kind("picture")
        assert message["model"] == ORIGIN.model
        assert message["detections"][0]["label"] == ORIGIN.classes[0]
        listener.kind("info", model="other", classes=["car"])


def test_a_message_that_cannot_be_said_costs_nobody_anything(fed: Fed) -> None:
    with Listener(fed.path) as listener:
        listener.kind("told")
        seen = fed.show(1)
        fed.feed.publish(replace(seen, timings={"waiting": float("nan"), "detect": 1.0, "total": 1.0}))
        fed.show(2)
        listener.kind("detections", sequence=2)
        assert fed.feed._server.clients == 1


def test_hello_comes_first_for_whoever_waited_at_the_door(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"{number}.sock"
        listener = listen(path, group="")
        with Listener(path) as early:
            pictures = Pictures()
            feed = Feed(
                listener,
                ORIGIN,
                cameras=CAMERAS,
                pictures=pictures,
                counters=lambda: MessageTally().snapshot(waiting=0),
                read_snapshot=lambda *_: None,
            )
            early.kind("told")
            assert [message["kind"] for message, _ in early.heard[:3]] == ["hello", "cameras", "told"]
            began = time.monotonic()
            feed.close()
            assert time.monotonic() - began < 0.3
        assert not path.exists()


def test_snapshots_come_by_event(fed: Fed) -> None:
    fed.snapshots[ULID, False] = b"boxed"
    fed.snapshots[ULID, True] = b"clean"
    broken = "01KAZ0000000000000000000AC"
    fed.snapshots[broken, False] = OSError(5, "Input/output error")
    with Listener(fed.path) as listener:
        listener.ask(kind="snapshot", event=ULID)
        listener.ask(kind="snapshot", event=ULID, clean=True)
        listener.ask(kind="snapshot", event="01KAZ0000000000000000000AB")
        listener.ask(kind="snapshot", event="../../../etc/passwd")
        listener.ask(kind="snapshot", event="7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
        listener.ask(kind="snapshot", event=broken)
        listener.kind("snapshot", event=broken)
        answers = [
            (said["clean"], said.get("problem"), jpeg) for said, jpeg in listener.heard if said["kind"] == "snapshot"
        ]
    assert answers == [
        (False, None, b"boxed"),
        (True, None, b"clean"),
        (False, "there is none", b""),
        (False, "not the name of an event", b""),
        (False, "not the name of an event", b""),
        (False, "it cannot be read: Input/output error", b""),
    ]


def test_a_removed_camera_is_said_and_forgotten(fed: Fed) -> None:
    fed.feed.camera_state(CameraState("yard", "online", "", NOW, 0))
    with Listener(fed.path) as listener:
        listener.kind("camera", camera="yard")
        fed.feed.watch(CAMERAS[:1])
        listener.kind("removed", camera="yard")
        fed.feed.camera_state(CameraState("yard", "offline", "", NOW, 0))
    fed.settle()
    with Listener(fed.path) as late:
        late.kind("cameras")
        time.sleep(0.1)
        late.read()
        assert not [said for said, _ in late.heard if said["kind"] == "camera"]


def test_who_speaks_otherwise_or_reads_nothing_is_dropped_and_others_are_not(fed: Fed) -> None:
    with Listener(fed.path) as good, Listener(fed.path) as rude, Listener(fed.path) as odd, Listener(fed.path) as deaf:
        rude.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        odd.ask(kind="format the disk")
        wait_for(lambda: fed.feed._server.clients == 2, what="the two are gone")
        large = "x" * (1 << 20)
        until_s = time.monotonic() + 30
        while fed.feed._server.clients == 2 and time.monotonic() < until_s:
            fed.feed.event(replace(event("update"), model=large))
            good.read()
        assert fed.feed._server.clients == 1, f"it left {MOST_WAITING} bytes unread"
        fed.feed.event(event("end", 9))
        good.kind("event", type="end", revision=9, timeout_s=30)
        deaf.socket.settimeout(5)
        assert deaf.socket.recv(1)


def test_a_slow_client_goes_without_detections_and_keeps_its_events(fed: Fed) -> None:
    with Listener(fed.path) as slow:
        slow.kind("cameras")
        for number in range(4000):
            fed.feed.publish(result(number, objects=20))
            if number % 50 == 0:
                time.sleep(0.005)
        fed.feed.event(event("start"))
        slow.kind("event", timeout_s=20)
        got = [said["sequence"] for said, _ in slow.heard if said["kind"] == "detections"]
    assert 0 < len(got) < 4000
    assert got == sorted(got)


def test_there_are_only_so_many_clients(fed: Fed) -> None:
    listeners = [Listener(fed.path) for _ in range(MOST_CLIENTS + 1)]
    for listener in listeners[:MOST_CLIENTS]:
        listener.kind("cameras")
    until_s = time.monotonic() + 5
    while not listeners[-1].ended and time.monotonic() < until_s:
        listeners[-1].read()
    assert listeners[-1].ended
    listeners[0].socket.close()
    wait_for(lambda: fed.feed._server.clients == MOST_CLIENTS - 1, what="one left")
    with Listener(fed.path) as again:
        again.kind("cameras")
    for listener in listeners:
        listener.socket.close()


def test_a_defect_of_the_feed_drops_its_clients_and_nothing_else(
    fed: Fed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Listener(fed.path) as listener:
        listener.kind("cameras")
        monkeypatch.setattr(fed.feed._server, "_hand_out", lambda: 1 / 0)
        fed.feed.publish(result(1))
        wait_for(lambda: "the feed failed" in caplog.text, what="it is said")
        monkeypatch.undo()
    wait_for(lambda: fed.feed._server.clients == 0, what="clients are dropped")
    with Listener(fed.path) as again:
        again.kind("cameras")


def test_the_last_words_arrive_and_the_socket_is_gone(fed: Fed) -> None:
    with Listener(fed.path) as listener:
        listener.kind("cameras")
        fed.feed.event(event("end", 3))
        fed.feed.close()
        fed.feed.close()
        listener.kind("event", type="end")
    assert not fed.path.exists()
    fed.feed.event(event("end", 4))  # said to nobody


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "rtsp://10.0.0.9:554/s cannot be opened: Connection refused",
            "its address cannot be opened: Connection refused",
        ),
        ("Connection to tcp://cam.local:554?timeout=0 failed", "Connection to its address failed"),
        (
            "cannot resolve cam.local: Name or service not known",
            "cannot resolve its address: Name or service not known",
        ),
        ("no answer from 192.168.1.20:554 in 4 s", "no answer from its address in 4 s"),
        ("[fe80::1]:554 is silent", "its address is silent"),
        ("gst:rtspsrc location=x ! appsink cannot be opened: no element", "its address cannot be opened: no element"),
        ("yard.lan refused the connection", "its address refused the connection"),
        ("no frame for 4 s", "no frame for 4 s"),
    ],
)
def test_addresses_stay_in_the_daemon(fed: Fed, reason: str, said: str) -> None:
    remember_address("rtsp://viewer:secret@cam.local/stream")
    remember_address("gst:rtspsrc location=rtsp://yard.lan/s user-pw=x ! appsink")
    fed.feed.camera_state(CameraState("gate", "offline", reason, NOW, 0))
    fed.settle()
    with Listener(fed.path) as listener:
        assert listener.kind("camera")[0]["reason"] == said
