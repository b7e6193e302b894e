"""The feed with real sockets: what clients hear, and what a bad one costs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from edged.core.addresses import remember_address
from edged.core.states import CameraState, DeviceInfo
from edged.feed.client import MOST_WAITING
from edged.feed.listener import listen
from edged.feed.pictures import Pictures
from edged.feed.server import MOST_CLIENTS
from edged.feed.sink import Feed
from edged.publish.counters import MessageTally
from tests.brokers import wait_for
from tests.feed.fed import CAMERAS, NOW, ULID, Fed
from tests.feed.listening import Listener
from tests.publish.results import ORIGIN, counts, event, result, statistics


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
        for each in (good, rude, odd, deaf):
            each.kind("told")
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
