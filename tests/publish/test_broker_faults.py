"""Brokers that are away, frozen, killed: what must arrive arrives, the rest is counted, nothing blocks.

Each test ends with conservation (all that was committed arrived, or is counted as dropped) and an honest status.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from edged.publish.mqtt import MqttPublisher
from tests.brokers import Broker, Subscriber, free_port, wait_for
from tests.gates import Gate
from tests.holdups import FairTime
from tests.publish.deliveries import BLOCKED_S, connected, deliveries, first_sights, publish_all
from tests.publish.results import BASE, DETECTIONS, ORIGIN, options, outbox_options, publisher, result
from tests.publish.wire import confirmed


def test_broker_absent_at_start_drops_and_counts_then_connects(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.stop()
    with caplog.at_level(logging.DEBUG, logger="edged"):
        ours = publisher(broker.port)
        assert publish_all(ours, 100) < BLOCKED_S
        wait_for(lambda: "refused" in ours.counters().last_error)
        time.sleep(0.5)
        assert dict(ours.counters().dropped) == {"offline": 100}
        warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
        assert len(warnings) == 1, "one line a change, not one an attempt"
        broker.start()
        connected(ours)
    with Subscriber(broker.port) as seen:
        ours.publish(result(100))
        wait_for(lambda: seen.payloads(DETECTIONS))
        assert seen.last(f"{BASE}/status") == b"online"
    ours.close()
    assert ours.counters().last_error == ""


def test_broker_down_durable_messages_wait_and_arrive_in_order(
    broker: Broker, gate: Gate, tmp_path: Path, transport: str
) -> None:
    ours = publisher(gate.port, durable=tmp_path / "outbox", transport=transport)
    connected(ours)
    with Subscriber(broker.port) as seen:
        publish_all(ours, 100)
        wait_for(lambda: len(deliveries(seen)) == 100)
        gate.close()
        broker.stop()
        wait_for(lambda: not ours.counters().connected)
        publish_all(ours, 900, first=100)
        broker.start()
        seen.ready()
        gate.open()
        recovered_s = wait_for(lambda: ours.counters().connected)
        wait_for(lambda: len(set(deliveries(seen))) == 1000, what="everything that waited")
        assert recovered_s < 5
        assert first_sights(deliveries(seen)) == list(range(1, 1001))
        sequences = [json.loads(payload)["sequence"] for payload in seen.payloads(DETECTIONS)]
        assert first_sights(sequences) == list(range(1000))
        wait_for(lambda: ours.counters().waiting == 0)
    ours.close()
    assert dict(ours.counters().dropped) == {}


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_broker_that_took_but_did_not_confirm_gets_it_again(
    broker: Broker, gate: Gate, tmp_path: Path, protocol: str
) -> None:
    ours = publisher(gate.port, durable=tmp_path / "outbox", protocol=protocol)
    connected(ours)
    with Subscriber(broker.port) as seen:
        wait_for(lambda: ours.counters().acknowledged)
        gate.downstream = False
        publish_all(ours, 15)
        wait_for(lambda: len(deliveries(seen)) == 15)
        gate.close()
        gate.open()
        wait_for(lambda: ours.counters().waiting == 0)
        wait_for(lambda: len(deliveries(seen)) == 30)
        assert Counter(deliveries(seen)) == dict.fromkeys(range(1, 16), 2), "each a second time, by the same number"
        assert deliveries(seen)[15:] == list(range(1, 16))
    ours.close()


def test_broker_killed_in_load_gets_again_what_it_did_not_confirm(
    broker: Broker, gate: Gate, tmp_path: Path, transport: str
) -> None:
    ours = publisher(gate.port, durable=tmp_path / "outbox", transport=transport)
    sent = 0
    with Subscriber(broker.port) as seen:
        for _ in range(3):
            connected(ours)
            for _ in range(150):
                ours.publish(result(sent))
                sent += 1
                time.sleep(0.001)
            gate.close()
            broker.kill()
            broker.start()
            seen.ready()
            gate.open()
        wait_for(lambda: ours.counters().waiting == 0, what="drained")
        assert dict(ours.counters().dropped) == {}
        *killed, last = [confirmed(traffic) for traffic in gate.connections]
        assert set().union(last, *killed) == set(range(1, sent + 1)), "each was confirmed, once at least"
        # What a killed broker had confirmed and not handed on is gone with it: see the test below.
        wait_for(lambda: last <= set(deliveries(seen)), what="all that the living broker confirmed")
        assert first_sights(deliveries(seen)) == sorted(set(deliveries(seen)))
    ours.close()


SAVING = ("persistence true", "autosave_on_changes true", "autosave_interval 1")  # docs/messages.md's


@pytest.mark.parametrize(("settings", "kept"), [((), 0), (SAVING, 100)], ids=["in memory", "saving"])
def test_broker_killed_keeps_what_it_confirmed_where_it_saves_it(
    broker: Broker, tmp_path: Path, settings: tuple[str, ...], kept: int
) -> None:
    broker.stop()
    broker.settings = ("allow_anonymous true", *settings, f"persistence_location {broker.folder}/")
    broker.start()
    with Subscriber(broker.port, DETECTIONS, session="consumer"):
        pass  # its session stays at the broker
    ours = publisher(broker.port, durable=tmp_path / "outbox")
    publish_all(ours, 100)
    wait_for(lambda: ours.counters().acknowledged > 100 and not ours.counters().waiting, what="all confirmed")
    saved = broker.folder / "mosquitto.db"
    wait_for(lambda: not settings or b'"delivery":100}' in saved.read_bytes(), what="the last of them saved")
    broker.kill()
    ours.close()
    broker.start()
    with Subscriber(broker.port, DETECTIONS, session="consumer") as seen:
        wait_for(lambda: len(deliveries(seen)) >= kept)
        time.sleep(0.2)
        assert deliveries(seen) == list(range(1, kept + 1))


@pytest.mark.parametrize("durable", [False, True])
def test_broker_frozen_is_noticed_and_blocks_nothing(
    broker: Broker, tmp_path: Path, transport: str, *, durable: bool
) -> None:
    settings = options(broker.box_port, queue_messages=200, keepalive_s=1, transport=transport)
    ours = MqttPublisher(settings, ORIGIN, outbox=outbox_options(tmp_path / "outbox") if durable else None)
    connected(ours)
    broker.freeze()
    began = time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = longest_s = 0.0
    with FairTime() as noticed:
        while ours.counters().connected and time.monotonic() - began < 10:
            longest_s = max(longest_s, publish_all(ours, 20, first=int(sent)))
            sent += 20
            time.sleep(0.01)
    assert noticed.seconds < 2 * settings.keepalive_s + 2  # looked at once a second
    assert longest_s < BLOCKED_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20_000
    assert "eep alive" in ours.counters().last_error
    counters = ours.counters()
    accounted = counters.waiting + sum(counters.dropped.values()) + (0 if durable else counters.published)
    assert accounted == pytest.approx(sent, abs=2)  # the status among the published ones
    broker.thaw()
    connected(ours)
    with Subscriber(broker.port) as seen:
        wait_for(lambda: seen.last(f"{BASE}/status") == b"online")
        if durable:
            wait_for(lambda: ours.counters().waiting == 0)
    ours.close()


def test_broker_frozen_close_is_quick_and_leaves_the_will(broker: Broker, tmp_path: Path, transport: str) -> None:
    ours = publisher(broker.box_port, durable=tmp_path / "outbox", transport=transport)
    connected(ours)
    wait_for(lambda: ours.counters().acknowledged)
    broker.freeze()
    publish_all(ours, 50)
    with FairTime() as took:
        ours.close()
    assert took.seconds < 2
    broker.thaw()
    with Subscriber(broker.port) as seen:
        wait_for(lambda: seen.last(f"{BASE}/status") == b"offline")
        again = publisher(broker.box_port, durable=tmp_path / "outbox", transport=transport)
        wait_for(lambda: again.counters().connected and not again.counters().waiting)
        again.close()


def test_broker_unreachable_close_is_quick() -> None:
    for host in ("127.0.0.1", "192.0.2.1"):  # refused; and TEST-NET-1, where nobody answers
        ours = MqttPublisher(options(free_port(), host=host, connect_timeout_s=3), ORIGIN)
        time.sleep(0.1)
        with FairTime() as took:
            ours.close()
        assert took.seconds < 2
        ours._network._thread.join(10)
        assert not ours._network._thread.is_alive(), "an attempt to connect outlives its time-out"


def test_broker_slow_network_drops_oldest_and_stays_bounded(broker: Broker, gate: Gate, transport: str) -> None:
    ours = MqttPublisher(options(gate.port, queue_messages=100, keepalive_s=60, transport=transport), ORIGIN)
    connected(ours)
    with Subscriber(broker.port) as seen:
        wait_for(lambda: seen.last(f"{BASE}/status"))
        gate.upstream = False
        sent = 0
        while not ours.counters().dropped.get("queue") and sent < 200_000:
            publish_all(ours, 500, first=sent)
            sent += 500
            time.sleep(0.001)
        assert ours.counters().connected
        gate.upstream = True
        wait_for(lambda: ours.counters().published + sum(ours.counters().dropped.values()) == sent + 1)
        ours.publish(result(sent))
        wait_for(lambda: any(json.loads(p)["sequence"] == sent for p in seen.payloads(DETECTIONS)[-1:]), timeout_s=30)
        got = [json.loads(payload)["sequence"] for payload in seen.payloads(DETECTIONS)]
        assert got == sorted(set(got))
        assert len(got) == sent + 1 - ours.counters().dropped["queue"]
    ours.close()


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_broker_half_open_connection_is_replaced(
    broker: Broker, gate: Gate, tmp_path: Path, transport: str, protocol: str
) -> None:
    ours = publisher(gate.port, durable=tmp_path / "outbox", keepalive_s=1, protocol=protocol, transport=transport)
    connected(ours)
    with Subscriber(broker.port) as seen:
        gate.upstream = gate.downstream = False  # packets vanish, nobody says so
        publish_all(ours, 20)
        with FairTime() as noticed:
            wait_for(lambda: not ours.counters().connected, what="noticed")
        assert noticed.seconds < 3.5
        gate.close()
        gate.open()
        wait_for(lambda: ours.counters().waiting == 0)
        wait_for(lambda: set(deliveries(seen)) == set(range(1, 21)))
    ours.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_broker_down_ten_minutes_loses_nothing(
    broker: Broker, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = publisher(gate.port, durable=tmp_path / "outbox", reconnect_max_s=5.0)
    connected(ours)
    with Subscriber(broker.port) as seen:
        gate.close()
        broker.stop()
        for sequence in range(6000):
            ours.publish(result(sequence))
            time.sleep(0.1)
        broker.start()
        seen.ready()
        gate.open()
        back_s = wait_for(lambda: ours.counters().connected)
        drain_s = wait_for(lambda: ours.counters().waiting == 0, timeout_s=60)
        wait_for(lambda: len(set(deliveries(seen))) == 6000)
        assert first_sights(deliveries(seen)) == list(range(1, 6001))
        with capsys.disabled():
            sys.stdout.write(f"\n10 minutes down: back after {back_s:.2f} s, 6000 drained in {drain_s:.2f} s\n")
        assert back_s < 6
    ours.close()
