"""What earlier runs left retained goes away, and nothing that is another's; whatever the broker allows."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edged.core.states import CameraState, DeviceInfo
from edged.core.watched import Watched
from edged.publish import leftovers
from edged.publish.client import MOST_INCOMING_BYTES
from edged.publish.connection import Connection
from edged.publish.home_assistant.messages import box_topic
from edged.publish.leftovers import MOST_LOST
from edged.publish.mqtt import MqttPublisher
from edged.publish.topics import Topics
from tests.brokers import Broker, Subscriber, free_port, wait_for, write_passwords
from tests.gates import Gate
from tests.publish.deliveries import connected, retain
from tests.publish.results import BASE, ORIGIN, counts, options, publisher, result
from tests.publish.scripted import puback, scripted

NOW = result().meta.captured_at


@contextmanager
def running(
    port: int,
    cameras: Sequence[str],
    *,
    device: str = "box",
    prefix: str = "edged",
    announce: bool = True,
    **more: object,
) -> Iterator[MqttPublisher]:
    """A publisher with these cameras, each online and seeing one object, of this or another device."""
    origin = type(ORIGIN)(device=device, model="m", classes=ORIGIN.classes, boot_id="b", session="s")
    ours = MqttPublisher(
        options(port, **more),
        origin,
        prefix=prefix,
        discovery_prefix="homeassistant" if announce else "",
        cameras=[Watched(name) for name in cameras],
    )
    for name in cameras:
        ours.camera_state(CameraState(name, state="online", reason="", since=NOW, reconnects=0))
        ours.objects(counts(1, camera=name))
    try:
        connected(ours)
        yield ours
    finally:
        ours.close()


def killed(port: int, cameras: Sequence[str], **who: object) -> None:
    """A device ran and was killed; or its goodbye changes nothing of what matters here."""
    with running(port, cameras, **who) as ours:  # type: ignore[arg-type]
        searched(ours)
        wait_for(lambda: ours.counters().acknowledged >= 4 * len(cameras), what="all states are retained")


def retained(port: int) -> dict[str, bytes]:
    """What the broker holds."""
    with Subscriber(port) as seen:
        time.sleep(0.3)
        return {each.topic: each.payload for each in seen.messages if each.retained}


def of(held: dict[str, bytes], camera: str, *, base: str = BASE) -> set[str]:
    """What of it is a camera's."""
    return {topic for topic in held if topic.startswith(f"{base}/{camera}/") or topic.endswith(f"/{camera}/config")}


def searched(ours: MqttPublisher) -> None:
    wait_for(lambda: ours._search._done, what="the look at what is retained")
    wait_for(lambda: not ours._search.running, what="what follows from it")
    wait_for(lambda: not ours._mailbox.waiting and ours._tally.connected)
    time.sleep(0.1)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_camera_deleted_while_the_daemon_was_down_leaves_nothing(
    broker: Broker, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    killed(broker.port, ["gate", "yard"])
    assert len(of(retained(broker.port), "yard")) >= 4
    with caplog.at_level(logging.INFO), running(broker.port, ["gate"], protocol=protocol) as ours:
        searched(ours)
        held = retained(broker.port)
        assert not of(held, "yard")
        assert len(of(held, "gate")) == 4
        assert held[f"{BASE}/status"] == b"online"
    said = next(each.getMessage() for each in caplog.records if "removed what" in each.getMessage())
    assert f"{BASE}/yard/health" in said
    assert "gate" not in said


def test_home_assistant_switched_off_takes_its_announcements_away(broker: Broker) -> None:
    killed(broker.port, ["gate"])
    with running(broker.port, ["gate"], announce=False) as ours:
        searched(ours)
        expected = {f"{BASE}/gate/{leaf}" for leaf in ("status", "health", "objects")}
        assert of(retained(broker.port), "gate") == expected


@pytest.mark.parametrize(
    "other",
    [
        {"device": "box2"},
        {"device": "box", "prefix": "edged2"},
        {"device": "yard", "prefix": BASE},
        {"device": "box", "prefix": BASE},
        {"device": "old-name"},
    ],
    ids=lambda other: "/".join(reversed(other.values())),
)
def test_nothing_of_another_device_is_touched(broker: Broker, other: dict[str, str]) -> None:
    killed(broker.port, ["roof", "yard"], **other)
    theirs = retained(broker.port)
    assert len(theirs) >= 9
    with running(broker.port, []) as ours:
        searched(ours)
        held = retained(broker.port)
    ours_alone = {f"{BASE}/status", box_topic(Topics("box"))}  # of two boxes of one name each announces itself
    assert {topic: held.get(topic) for topic in theirs if topic not in ours_alone} == {
        topic: payload for topic, payload in theirs.items() if topic not in ours_alone
    }


def test_camera_that_was_called_as_another_device_is_leaves_that_devices_status(broker: Broker) -> None:
    killed(broker.port, ["yard"])
    with running(broker.port, [], device="yard", prefix=BASE) as theirs, running(broker.port, []) as ours:
        theirs.info(DeviceInfo(version="1", model="m", backend="cpu", cameras=(), started_at=NOW))
        wait_for(lambda: f"{BASE}/yard/info" in retained(broker.port))
        ours.close()
        with running(broker.port, []) as again:
            searched(again)
            held = retained(broker.port)
    assert f"{BASE}/yard/health" not in held
    assert held[f"{BASE}/yard/status"] == b"online"
    assert f"{BASE}/yard/info" in held


HEALTH = {"schema": "edged.health/1", "device": "box", "camera": "gone"}
FOREIGN = {
    f"{BASE}/note/health": b"not JSON \xff",
    f"{BASE}/note2/health": b"[]",
    f"{BASE}/note3/health": json.dumps({**HEALTH, "camera": "gone"}).encode(),
    f"{BASE}/note4/health": json.dumps({**HEALTH, "camera": "note4", "device": ["box"]}).encode(),
    f"{BASE}/deep/health": b"[" * 5000 + b"]" * 5000,
    f"{BASE}/Upper Case/health": json.dumps({**HEALTH, "camera": "Upper Case"}).encode(),
    f"{BASE}/stats/health": json.dumps({**HEALTH, "camera": "stats"}).encode(),
    "homeassistant/sensor/edged_box/x_objects/config": json.dumps(
        {"origin": {"name": "other"}, "state_topic": f"{BASE}/x/objects"}
    ).encode(),
    "homeassistant/sensor/edged_box/y_objects/config": json.dumps(
        {"origin": "edged", "state_topic": f"{BASE}/y/objects"}
    ).encode(),
}


def test_content_that_does_not_prove_to_be_ours_stays(broker: Broker) -> None:
    retain(broker.port, FOREIGN)
    with running(broker.port, []) as ours:
        searched(ours)
        held = retained(broker.port)
    assert {topic: held.get(topic) for topic in FOREIGN} == FOREIGN


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_huge_retained_message_is_not_read_and_harms_nothing(
    broker: Broker, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    retain(broker.port, {f"{BASE}/huge/health": b"x" * (MOST_INCOMING_BYTES + 1)})
    with caplog.at_level(logging.INFO), running(broker.port, ["gate"], protocol=protocol) as ours:
        wait_for(lambda: ours._search._done or ours._search._said, what="the look has ended")
        ours.publish(result(1))
        wait_for(lambda: ours.counters().published > 5)
        assert ours.counters().connects == 1
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_broker_that_lets_the_device_only_write_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(leftovers, "WINDOW_S", 2.0)
    rules = tmp_path / "rules"
    rules.write_text("topic write #\n")
    broker = Broker(tmp_path, free_port(), ("allow_anonymous true", f"acl_file {rules}")).start()
    try:
        with caplog.at_level(logging.INFO), running(broker.port, ["gate"], protocol=protocol) as ours:
            searched(ours)
            assert ours.counters().connects == 1
            broker.stop()
            broker.start()
            wait_for(lambda: ours.counters().connects == 2)
            time.sleep(0.3)
    finally:
        broker.kill()
    assert caplog.text.count("is not looked for") == 1
    assert "seem to forbid this device to read" in caplog.text


def test_network_that_goes_deaf_is_not_taken_for_an_access_rule(
    broker: Broker, gate: Gate, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "WINDOW_S", 2.0)
    killed(broker.port, ["gate", "yard"])
    real = Connection.subscribe

    def deaf(connection: Connection, *arguments: Any) -> None:
        gate.downstream = False
        real(connection, *arguments)

    with monkeypatch.context() as first, caplog.at_level(logging.INFO):
        first.setattr(Connection, "subscribe", deaf)
        ours = publisher(gate.port, cameras=[Watched("gate")], keepalive_s=1)
        wait_for(lambda: "is not looked for" in caplog.text)
    assert "the connection ended" in caplog.text or "does not answer" in caplog.text
    gate.close()
    gate.open()
    searched(ours)
    assert not of(retained(broker.port), "yard"), "looked again with the next connection"
    ours.close()


def test_broker_that_hangs_up_on_subscribing_costs_no_connection_but_the_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def confirm(_topic: bytes, packet_id: int) -> bytes:
        return puback(packet_id)

    with caplog.at_level(logging.INFO), scripted(confirm, hang_up_on=0x82) as server:
        with running(server.port, ["gate"]) as ours:
            wait_for(lambda: "is not looked for" in caplog.text)
            ours.publish(result(1))
            wait_for(lambda: not ours._mailbox.waiting)
            assert ours.counters().connects == 1
        assert server.connects == 2
    assert caplog.text.count("is not looked for") == 1


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_broker_that_takes_all_connections_of_a_user_for_one_is_soon_looked_at_no_more(
    tmp_path: Path, protocol: str
) -> None:
    write_passwords(tmp_path / "passwords", box="pw")
    settings = ("allow_anonymous false", f"password_file {tmp_path}/passwords", "use_username_as_clientid true")
    broker = Broker(tmp_path, free_port(), settings).start()
    try:
        user: dict[str, Any] = {"username": "box", "password": "pw", "protocol": protocol, "reconnect_min_s": 0.05}
        with running(broker.port, ["gate"], **user) as ours:
            for _ in range(3):
                wait_for(lambda: ours._search._thread is not None and not ours._search._thread.is_alive())
                ours._search.begin()  # as the next connection would, had the look ended before it
                time.sleep(0.5)
            wait_for(lambda: ours.counters().connected)
            assert ours.counters().connects <= 1 + MOST_LOST
    finally:
        broker.kill()


def test_clean_stop_leaves_no_camera_online(broker: Broker) -> None:
    with running(broker.port, ["gate", "yard", "clip"]) as ours:
        ours.camera_state(CameraState("yard", state="offline", reason="no route", since=NOW, reconnects=3))
        ours.camera_state(CameraState("clip", state="ended", reason="", since=NOW, reconnects=0))
    ours.camera_state(CameraState("gate", state="online", reason="", since=NOW, reconnects=0))  # too late
    held = retained(broker.port)
    health = {name: json.loads(held[f"{BASE}/{name}/health"]) for name in ("gate", "yard", "clip")}
    assert {name: (each["state"], each["reason"]) for name, each in health.items()} == {
        "gate": ("offline", "edged was stopped"),
        "yard": ("offline", "no route"),
        "clip": ("ended", ""),
    }
    assert {payload for topic, payload in held.items() if topic.endswith("/status")} == {b"offline"}


def test_state_of_a_camera_that_was_removed_is_not_said_again(broker: Broker) -> None:
    with running(broker.port, ["gate", "yard"]) as ours:
        wait_for(lambda: len(of(retained(broker.port), "yard")) == 4)
        ours.watch([Watched("gate"), Watched("roof")])
        ours.camera_state(CameraState("yard", state="offline", reason="closed", since=NOW, reconnects=0))
        ours.camera_state(CameraState("roof", state="online", reason="", since=NOW, reconnects=0))
        ours.publish(result(1, 1, camera="yard"))
        wait_for(lambda: not of(retained(broker.port), "yard"))
        assert f"{BASE}/roof/health" in retained(broker.port)


def test_topics_of_a_camera_are_those_that_are_looked_for() -> None:
    topics = Topics("box")
    below = [topics.camera_objects("x"), topics.camera_status("x"), topics.camera_health("x")]
    assert all(topic.split("/")[:2] == ["edged", "box"] and len(topic.split("/")) == 4 for topic in below)
