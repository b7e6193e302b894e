"""A broker that hangs up on a message: what is too large for it is dropped with a word, all else arrives."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edged.core.states import CameraState, DeviceInfo
from edged.logs import OncePerMinute
from edged.publish.hangups import LOSSES_IN_A_ROW
from edged.publish.mqtt import MqttPublisher
from tests.brokers import Broker, Subscriber, free_port, wait_for
from tests.publish.deliveries import connected, deliveries, first_sights
from tests.publish.results import BASE, DETECTIONS, ORIGIN, options, outbox_options, publisher, result
from tests.publish.scripted import puback, scripted

LIMITED = [
    pytest.param("max_packet_size 2000", "3.1.1", id="max_packet_size, 3.1.1"),  # hangs up
    pytest.param("max_packet_size 2000", "5", id="max_packet_size, 5"),  # says its limit when it accepts us
    pytest.param("message_size_limit 2000", "5", id="message_size_limit, 5"),  # 2.0.11 answers against MQTT, hangs up
]
SOON = 0.3  # in place of a minute
IN_TIME = 1.0  # likewise, where a busy machine must confirm a message within it


@contextmanager
def limited(folder: Path, setting: str) -> Iterator[Broker]:
    folder.mkdir(exist_ok=True)
    broker = Broker(folder, free_port(), ("allow_anonymous true", setting))
    try:
        yield broker
    finally:
        broker.kill()


@pytest.mark.parametrize(("setting", "protocol"), LIMITED)
def test_durable_messages_that_the_broker_finds_too_large_cost_only_themselves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str, protocol: str
) -> None:
    large = {30, 31, 90}
    expected = [each + 1 for each in range(120) if each not in large]
    with limited(tmp_path / "broker", setting) as broker, Subscriber(broker.start().port) as seen:
        broker.freeze()  # until all wait for it
        ours = publisher(broker.port, durable=tmp_path / "outbox", protocol=protocol, refused_retry_s=IN_TIME)
        for sequence in range(120):
            ours.publish(result(sequence, 40 + sequence if sequence in large else 1))
        broker.thaw()
        with caplog.at_level(logging.WARNING), caplog.filtering(OncePerMinute()):
            wait_for(lambda: len(set(deliveries(seen))) == len(expected), what="all others", timeout_s=80)
            wait_for(lambda: not ours.counters().waiting)
            assert first_sights(deliveries(seen)) == expected
            assert dict(ours.counters().dropped) == {"too_large": len(large)}
            before = ours.counters().connects
            for sequence in range(120, 140):
                ours.publish(result(sequence, 40 + 100 * (sequence % 2)))  # 40: 3,500 bytes
                ours.publish(result(sequence, 2))
            wait_for(lambda: not ours.counters().waiting, timeout_s=80)
            wait_for(lambda: len(set(deliveries(seen))) == len(expected) + 20, what="all small ones")
            assert ours.counters().connects <= before + 15, "it need not be learned for each"
        ours.close()
    assert caplog.text.count("dropped (too_large):") == 1


@pytest.mark.parametrize(("setting", "protocol"), LIMITED)
def test_state_that_the_broker_finds_too_large_costs_only_itself(tmp_path: Path, setting: str, protocol: str) -> None:
    now = datetime.now(timezone.utc)
    with limited(tmp_path / "broker", setting) as broker:
        broker.start()
        ours = MqttPublisher(options(broker.port, protocol=protocol, refused_retry_s=IN_TIME), ORIGIN, qos=1)
        names = tuple(f"camera-{number:03}-{'x' * 40}" for number in range(60))
        ours.info(DeviceInfo(version="1", model="m", backend="cpu", cameras=names, started_at=now))
        ours.camera_state(CameraState("gate", state="online", reason="", since=now, reconnects=0))
        with Subscriber(broker.port) as seen:
            wait_for(lambda: seen.last(f"{BASE}/gate/health"), timeout_s=20)
            wait_for(lambda: ours.counters().connected and ours.counters().dropped.get("too_large"), timeout_s=20)
            ours.publish(result(1, 2))
            wait_for(lambda: seen.payloads(DETECTIONS))
            assert seen.last(f"{BASE}/status") == b"online"
        ours.close()


def test_broker_that_hangs_up_on_every_message_costs_none(tmp_path: Path) -> None:
    """Access rules, as some brokers enforce them: size has nothing to do with it."""
    got: list[bytes] = []
    forbidding = True

    def answer(topic: bytes, packet_id: int) -> bytes | None:
        if topic.endswith(b"detections"):
            if forbidding:
                return None
            got.append(topic)
        return puback(packet_id)

    with scripted(answer) as server:
        ours = publisher(server.port, durable=tmp_path, refused_retry_s=SOON)
        for sequence in range(10):
            ours.publish(result(sequence, 1 + (7 * sequence) % 10))
        wait_for(lambda: server.connects > 4 * LOSSES_IN_A_ROW, timeout_s=80)
        assert not ours.counters().dropped
        forbidding = False
        wait_for(lambda: not ours.counters().waiting, timeout_s=20)
        assert not ours.counters().dropped
        assert len(got) >= 10
        ours.close()


def test_only_message_that_the_broker_hangs_up_on_waits_for_another_to_compare(tmp_path: Path) -> None:
    with limited(tmp_path / "broker", "max_packet_size 2000") as broker:
        broker.start()
        ours = publisher(broker.port, durable=tmp_path / "outbox", protocol="3.1.1", refused_retry_s=SOON)
        connected(ours)
        ours.publish(result(0, 50))
        wait_for(lambda: ours.counters().connects > 2 * LOSSES_IN_A_ROW, timeout_s=20)
        assert not ours.counters().dropped
        with Subscriber(broker.port) as seen:
            ours.publish(result(1, 1))
            wait_for(lambda: seen.payloads(DETECTIONS), timeout_s=20)
            assert json.loads(seen.last(DETECTIONS))["delivery"] == 2
            wait_for(lambda: not ours.counters().waiting)
        assert dict(ours.counters().dropped) == {"too_large": 1}
        ours.close()


def test_broker_that_restarts_again_and_again_costs_no_message(broker: Broker, tmp_path: Path) -> None:
    ours = MqttPublisher(
        options(broker.port, protocol="3.1.1", refused_retry_s=SOON), ORIGIN, outbox=outbox_options(tmp_path / "outbox")
    )
    with Subscriber(broker.port) as seen:
        for restart in range(6):
            for sequence in range(50):
                ours.publish(result(100 * restart + sequence, sequence % 20))
            broker.kill()
            broker.start()
            seen.ready()
        wait_for(lambda: not ours.counters().waiting, timeout_s=20)
        assert not ours.counters().dropped
    ours.close()
