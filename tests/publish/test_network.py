"""What a broker may answer, by a server that says exactly what the test wants."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.publish.connection import Connection
from edged.publish.mqtt import MqttPublisher
from tests.brokers import Broker, wait_for
from tests.publish.results import ORIGIN, options, outbox_options, publisher, result
from tests.publish.scripted import SESSION_TAKEN_OVER, puback, scripted

NOT_AUTHORIZED, PAYLOAD_INVALID = 0x87, 0x99


def answering(code: int) -> Callable[[bytes, int], bytes | None]:
    """Confirms states, answers detections with `code`."""
    return lambda topic, packet_id: puback(packet_id, code if topic.endswith(b"detections") else 0)


def test_network_refused_message_is_counted_and_the_connection_stays(caplog: pytest.LogCaptureFixture) -> None:
    with scripted(answering(NOT_AUTHORIZED)) as server, caplog.at_level(logging.WARNING):
        ours = MqttPublisher(options(server.port), ORIGIN, qos=1)
        for sequence in range(5):
            ours.publish(result(sequence))
        wait_for(lambda: ours.counters().dropped.get("refused") == 5)
        assert ours.counters().connects == 1
        ours.close()
    assert caplog.text.count("access rules") == 1


def test_network_refused_durable_message_is_tried_again_slowly(tmp_path: Path) -> None:
    asked: list[int] = []

    def refuse_at_first(topic: bytes, packet_id: int) -> bytes:
        if topic.endswith(b"detections"):
            asked.append(packet_id)
            return puback(packet_id, NOT_AUTHORIZED if len(asked) <= 3 else 0)
        return puback(packet_id)

    with scripted(refuse_at_first) as server:
        outbox = outbox_options(tmp_path)
        ours = MqttPublisher(options(server.port, refused_retry_s=0.3), ORIGIN, outbox=outbox)
        for sequence in range(3):
            ours.publish(result(sequence))
        took_s = wait_for(lambda: not ours.counters().waiting and ours.counters().acknowledged >= 4)
        assert took_s > 0.25
        assert len(asked) == 6
        assert dict(ours.counters().dropped) == {}
        ours.close()


def test_network_hopeless_durable_message_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with scripted(answering(PAYLOAD_INVALID)) as server:
        ours = MqttPublisher(options(server.port), ORIGIN, outbox=outbox_options(tmp_path))
        for sequence in range(3):
            ours.publish(result(sequence))
        wait_for(lambda: ours.counters().dropped.get("refused") == 3 and not ours.counters().waiting)
        ours.close()


def test_network_refusal_with_hanging_up_is_retried_slowly() -> None:
    hang_up: list[int] = []

    def refuse_and_hang_up(topic: bytes, packet_id: int) -> bytes | None:
        if hang_up:
            return None
        if topic.endswith(b"detections"):
            hang_up.append(packet_id)
            return puback(packet_id, NOT_AUTHORIZED)
        return puback(packet_id)

    with scripted(refuse_and_hang_up) as server:
        ours = MqttPublisher(options(server.port, refused_retry_s=30), ORIGIN, qos=1)
        ours.publish(result(0))
        wait_for(lambda: hang_up)
        ours.publish(result(1))
        wait_for(lambda: not ours.counters().connected)
        threading.Event().wait(0.5)
        assert server.connects == 1, "an ordinary loss would have been mended by now"
        assert "access rules" in ours.counters().last_error
        ours.close()


def test_network_session_taken_over_is_retried_slowly() -> None:
    with scripted(lambda _topic, _packet_id: SESSION_TAKEN_OVER) as server:
        ours = publisher(server.port, refused_retry_s=30)
        wait_for(lambda: "client id 'edged-box'" in ours.counters().last_error)
        threading.Event().wait(0.5)
        assert server.connects == 1
        ours.close()


def test_network_respects_the_brokers_receive_maximum(tmp_path: Path) -> None:
    unanswered: list[int] = []

    def withhold(topic: bytes, packet_id: int) -> bytes:
        if topic.endswith(b"status"):
            return puback(packet_id)
        unanswered.append(packet_id)
        return b""

    receive_maximum = bytes([0x20, 6, 0, 0, 3, 0x21, 0, 3])
    with scripted(withhold, connack=receive_maximum) as server:
        ours = MqttPublisher(options(server.port, keepalive_s=60), ORIGIN, outbox=outbox_options(tmp_path))
        for sequence in range(30):
            ours.publish(result(sequence))
        wait_for(lambda: len(unanswered) >= 3)
        threading.Event().wait(0.3)
        assert len(unanswered) == 3
        ours.close()


@pytest.mark.parametrize("garbage", [b"\x30\x02\x00\x09", b"\xf0\xff\xff\xff\xff\x01", b"\x40\x01\x00", bytes(64)])
def test_network_garbage_from_the_server_costs_only_the_connection(garbage: bytes) -> None:
    sent: list[int] = []

    def garbage_once(_topic: bytes, packet_id: int) -> bytes:
        sent.append(packet_id)
        return garbage + bytes(32) if len(sent) == 1 else puback(packet_id)

    with scripted(garbage_once) as server:
        ours = publisher(server.port, keepalive_s=1)
        wait_for(lambda: ours.counters().acknowledged, timeout_s=20)
        assert server.connects == 2
        ours.close()


def test_connection_does_not_wait_to_fill_packets(broker: Broker) -> None:
    connection = Connection(options(broker.port), client_id="x", will=None, context=None)
    connection.open()
    sock = connection._client.socket()
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    connection.close()
