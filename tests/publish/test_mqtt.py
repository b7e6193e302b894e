"""The publisher in ordinary life, against a real broker and an independent subscriber."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import replace
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator

from edged.core.protocols import Sink
from edged.core.states import CameraState, DeviceInfo
from edged.core.watched import Watched
from edged.publish import schemas
from edged.publish.home_assistant.messages import box_topic, camera_topic
from edged.publish.mqtt import MqttPublisher
from tests.brokers import Broker, Subscriber, wait_for
from tests.gates import Gate
from tests.publish.results import BASE, CLASSES, DETECTIONS, ORIGIN, options, publisher, result, statistics


def started(port: int, **changes: Any) -> MqttPublisher:
    ours = publisher(port, **changes)
    wait_for(lambda: ours.counters().connected, what="connected")
    return ours


def online(ours: MqttPublisher, camera: str = "gate", state: Literal["online", "offline", "frozen"] = "online") -> None:
    ours.camera_state(CameraState(camera, state=state, reason="", since=result().meta.captured_at, reconnects=1))


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize("qos", [0, 1])
def test_publisher_messages_arrive_in_order(broker: Broker, protocol: str, qos: Literal[0, 1]) -> None:
    ours: Sink = MqttPublisher(options(broker.port, protocol=protocol), ORIGIN, qos=qos)
    assert isinstance(ours, MqttPublisher)
    wait_for(lambda: ours.counters().connected)
    with Subscriber(broker.port, DETECTIONS) as seen:
        for sequence in range(200):
            ours.publish(result(sequence, objects=sequence % 5))
        wait_for(lambda: len(seen.messages) == 200, what="200 messages")
        ours.close()
        got = [json.loads(each.payload) for each in seen.messages]
    assert [each["sequence"] for each in got] == list(range(200))
    assert not any(each.retained for each in seen.messages)
    counters = ours.counters()
    assert counters.published == 200 + 2  # and the status at start and end
    assert counters.acknowledged == (202 if qos else 2)
    assert dict(counters.dropped) == {}


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_publisher_every_message_follows_its_schema(broker: Broker, protocol: str) -> None:
    ours = started(broker.port, protocol=protocol)
    with Subscriber(broker.port) as seen:
        online(ours)
        ours.info(
            DeviceInfo(version="1", model="m", backend="cpu", cameras=("gate",), started_at=result().meta.captured_at)
        )
        ours.publish(result(3))
        ours.statistics(statistics())
        expected = {"detections": DETECTIONS, "health": f"{BASE}/gate/health", "info": f"{BASE}/info"}
        expected["stats"] = f"{BASE}/stats"
        for name, topic in expected.items():
            wait_for(lambda topic=topic: seen.payloads(topic), what=topic)  # type: ignore[misc]
            Draft202012Validator(schemas.load(name)).validate(json.loads(seen.last(topic)))
        assert seen.last(f"{BASE}/status") == seen.last(f"{BASE}/gate/status") == b"online"
        ours.close()
        wait_for(lambda: seen.last(f"{BASE}/status") == b"offline")
        assert seen.last(f"{BASE}/gate/status") == b"offline"


def test_publisher_retains_states_for_late_subscribers(broker: Broker) -> None:
    ours = started(broker.port)
    online(ours, "gate", "online")
    online(ours, "yard", "offline")
    online(ours, "roof", "frozen")
    wait_for(lambda: ours.counters().acknowledged >= 7)
    with Subscriber(broker.port) as late:
        wait_for(lambda: len(late.messages) >= 7)
        assert all(each.retained for each in late.messages)
        status = {camera: late.last(f"{BASE}/{camera}/status") for camera in ("gate", "yard", "roof")}
        assert status == {"gate": b"online", "yard": b"offline", "roof": b"online"}
    ours.close()


def test_publisher_says_all_states_again_after_every_connect(broker: Broker) -> None:
    ours = started(broker.port)
    online(ours)
    wait_for(lambda: ours.counters().acknowledged >= 3)
    broker.kill()  # and with it everything that was retained
    wait_for(lambda: not ours.counters().connected)
    online(ours, "yard")
    broker.start()
    with Subscriber(broker.port) as seen:
        wait_for(lambda: seen.last(f"{BASE}/yard/health"))
        wait_for(lambda: seen.last(f"{BASE}/gate/health"))
        assert seen.last(f"{BASE}/status") == b"online"
    assert ours.counters().connects == 2
    ours.close()


def test_publisher_removed_camera_leaves_nothing_retained(broker: Broker) -> None:
    cameras = [Watched("gate")]
    ours = MqttPublisher(options(broker.port), ORIGIN, discovery_prefix="homeassistant", cameras=cameras)
    online(ours)
    announced = camera_topic(ours.topics, "gate")
    with Subscriber(broker.port) as seen:
        wait_for(lambda: seen.last(announced) and seen.last(f"{BASE}/gate/health"))
        ours.watch([])
        wait_for(lambda: not seen.last(announced) and not seen.last(f"{BASE}/gate/health"))
        removed = [each.topic for each in seen.messages if not each.payload]
        assert removed[0] == announced, "first: its entities must not read that their values are gone"
    with Subscriber(broker.port) as late:
        wait_for(lambda: late.messages)
        time.sleep(0.2)
        assert {each.topic for each in late.messages} == {f"{BASE}/status", box_topic(ours.topics)}
    ours.close()


def test_publisher_cut_connection_leaves_the_will(broker: Broker) -> None:
    with Gate(broker.port) as gate, Subscriber(broker.port, f"{BASE}/status") as seen:
        ours = started(gate.port)
        wait_for(lambda: seen.last(f"{BASE}/status") == b"online")
        gate.close()
        wait_for(lambda: seen.last(f"{BASE}/status") == b"offline", what="the will")
        gate.open()
        wait_for(lambda: seen.last(f"{BASE}/status") == b"online", what="back again")
        ours.close()


def test_publisher_empty_frames_can_be_left_out(broker: Broker) -> None:
    ours = MqttPublisher(options(broker.port), ORIGIN, empty_frames=False)
    wait_for(lambda: ours.counters().connected)
    with Subscriber(broker.port, DETECTIONS) as seen:
        for sequence in range(4):
            ours.publish(result(sequence, objects=sequence % 2))
        wait_for(lambda: len(seen.messages) == 2)
        assert [json.loads(each.payload)["sequence"] for each in seen.messages] == [1, 3]
    assert ours.counters().skipped == 2
    ours.close()


def test_publisher_new_model_names_only_what_it_saw(broker: Broker) -> None:
    ours = started(broker.port)
    with Subscriber(broker.port, DETECTIONS) as seen:
        ours.publish(result(0))
        ours.set_model("other", ["a", "b", "c"])
        ours.publish(result(0))
        wait_for(lambda: len(seen.messages) == 2)
        first, second = (json.loads(each.payload) for each in seen.messages)
    assert (first["model"], second["model"]) == (ORIGIN.model, "other")
    assert {each["label"] for each in first["detections"]} <= set(CLASSES)
    assert {each["label"] for each in second["detections"]} <= {"a", "b", "c"}
    ours.close()


def test_publisher_too_large_message_keeps_the_most_confident(broker: Broker) -> None:
    ours = started(broker.port, max_payload_bytes=2000)
    found = result(0, objects=300)
    with Subscriber(broker.port, DETECTIONS) as seen:
        ours.publish(found)
        wait_for(lambda: seen.messages)
        got: dict[str, Any] = json.loads(seen.messages[0].payload)
    assert len(seen.messages[0].payload) <= 2000
    assert 10 < len(got["detections"]) == 300 - got["omitted"]
    assert got["detections"][0]["confidence"] == pytest.approx(float(found.detections.confidence[0]), abs=1e-4)
    Draft202012Validator(schemas.load("detections")).validate(got)
    assert ours.counters().truncated == 1
    ours.close()


def test_publisher_respects_the_brokers_packet_limit(broker: Broker) -> None:
    broker.stop()
    broker.settings = ("allow_anonymous true", "max_packet_size 2000")
    broker.start()
    ours = started(broker.port, protocol="5")
    with Subscriber(broker.port, DETECTIONS) as seen:
        ours.publish(result(0, objects=300))
        ours.publish(result(1, objects=1))
        wait_for(lambda: len(seen.messages) == 2)
        assert json.loads(seen.messages[0].payload)["omitted"] > 200
    assert ours.counters().connects == 1
    ours.close()


def test_publisher_packet_limit_that_only_mqtt_5_tells_is_among_the_causes(broker: Broker) -> None:
    broker.stop()
    broker.settings = ("allow_anonymous true", "max_packet_size 2000")
    broker.start()
    ours = started(broker.port, protocol="3.1.1", reconnect_max_s=0.05)
    ours.publish(result(0, objects=1))

    def named() -> bool:
        if ours.counters().connected:
            ours.publish(result(1, objects=300))
        return "larger than it takes" in ours.counters().last_error

    wait_for(named, what="the limit as a cause")
    said = re.search(r"a message \(up to (\d+) bytes here\).* protocol = \"5\"", ours.counters().last_error)
    assert said is not None
    assert int(said[1]) > 2000
    ours.close()


def test_publisher_message_that_is_no_json_is_dropped_and_counted(broker: Broker) -> None:
    ours = started(broker.port)
    bad = result(0)
    bad.detections.xyxy[0, 0] = float("nan")
    with Subscriber(broker.port, DETECTIONS) as seen:
        ours.publish(bad)
        ours.publish(result(1))
        wait_for(lambda: seen.messages)
        assert json.loads(seen.messages[0].payload)["sequence"] == 1
    assert dict(ours.counters().dropped) == {"invalid": 1}
    ours.close()


def test_publisher_camera_state_refuses_reserved_name(broker: Broker) -> None:
    ours = publisher(broker.port)
    with pytest.raises(ValueError, match="status"):
        online(ours, "status")
    ours.close()


def test_publisher_close_twice_and_publish_after_are_harmless(broker: Broker) -> None:
    ours = started(broker.port)
    ours.close()
    ours.close()
    ours.publish(result())
    online(ours)
    ours.statistics(statistics())
    assert dict(ours.counters().dropped) == {"closed": 2}


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_publisher_second_client_with_same_id_is_named(
    broker: Broker, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    with caplog.at_level(logging.WARNING):
        both = [publisher(broker.port, refused_retry_s=30, protocol=protocol) for _ in range(2)]
        wait_for(lambda: "client id" in caplog.text)
    assert "'edged-box'" in caplog.text
    time.sleep(0.3)
    connects = [each.counters().connects for each in both]
    assert max(connects) <= 4
    time.sleep(1)
    assert [each.counters().connects for each in both] == connects, "they still throw each other out"
    assert any(each.counters().connected for each in both)
    for each in both:
        each.close()


def test_publisher_secrets_appear_nowhere(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    secret = "s3cret-of-the-gate"
    with caplog.at_level(logging.DEBUG):
        ours = started(broker.port, username="box", password=secret)
        with Subscriber(broker.port) as seen:
            ours.statistics(statistics())
            wait_for(lambda: seen.payloads(f"{BASE}/stats"))
            ours.close()
    assert secret not in caplog.text
    assert secret not in repr(options(1, username="box", password=secret))
    assert secret not in repr(replace(options(1), username="box", password=secret))
    assert all(secret.encode() not in each.payload for each in seen.messages)
