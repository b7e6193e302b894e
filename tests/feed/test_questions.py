"""What clients of the feed ask: pictures with their detections, stored snapshots."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edged.core.states import CameraCounters, DeviceInfo
from tests.brokers import wait_for
from tests.feed.fed import CAMERAS, NOW, ULID, Fed
from tests.feed.listening import Listener
from tests.publish.results import ORIGIN, statistics


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


@pytest.mark.parametrize(("superseded", "seldom"), [(0, False), (900, True)])
def test_pictures_come_seldom_and_say_so_while_detection_drops_frames(
    fed: Fed, superseded: int, *, seldom: bool
) -> None:
    counters = CameraCounters(
        captured=1800, taken=1800 - superseded, dropped={"superseded": superseded, "removed": 1800}
    )
    for seen in (CameraCounters(), counters):  # the first decides nothing
        fed.feed.statistics(replace(statistics(), cameras={"gate": seen}))
    with Listener(fed.path) as listener:
        listener.ask(kind="picture", camera="gate", side=80)
        wait_for(lambda: fed.pictures._wanted, what="the camera is wanted")
        fed.show(1)
        message, jpeg = listener.kind("picture")
    assert jpeg
    assert message["seldom"] is seldom


def test_a_frame_is_encoded_once_however_many_ask(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    before = fed.feed._server._answers.picture

    def count(taken: object, *, most_side: int, seldom: bool) -> bytes:
        encoded.append(most_side)
        return before(taken, most_side=most_side, seldom=seldom)  # type: ignore[arg-type]

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
