"""Brokers that are away, frozen, killed, forbidding: what must arrive arrives, the rest is counted, nothing blocks.

Each test ends with conservation (all that was committed arrived, or is counted as dropped) and an honest status.
"""

from __future__ import annotations

import json
import logging
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.publish.mqtt import MqttPublisher
from edged.publish.options import MqttOptions, OutboxOptions, TlsOptions
from tests.brokers import Broker, Subscriber, free_port, make_certificates, wait_for, write_passwords
from tests.gates import Gate
from tests.publish.results import BASE, DETECTIONS, ORIGIN, options, outbox_options, publisher, result


@pytest.fixture
def gate(broker: Broker) -> Iterator[Gate]:
    """The way of the publisher to the broker; the subscriber goes directly."""
    with Gate(broker.port) as gate:
        yield gate


def deliveries(seen: Subscriber) -> list[int]:
    return [json.loads(payload)["delivery"] for payload in seen.payloads(DETECTIONS)]


def first_sights(numbers: list[int]) -> list[int]:
    """`numbers` without repeats, by their first appearance."""
    return list(dict.fromkeys(numbers))


def connected(ours: MqttPublisher) -> None:
    wait_for(lambda: ours.counters().connected, what="connected")


def publish_all(ours: MqttPublisher, count: int, *, first: int = 0) -> float:
    """Publish and return the longest single call, seconds."""
    longest_s = 0.0
    for sequence in range(first, first + count):
        began = time.monotonic()
        ours.publish(result(sequence))
        longest_s = max(longest_s, time.monotonic() - began)
    return longest_s


def test_broker_absent_at_start_drops_and_counts_then_connects(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.stop()
    with caplog.at_level(logging.DEBUG, logger="edged"):
        ours = publisher(broker.port)
        assert publish_all(ours, 100) < 0.1
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


def test_broker_down_durable_messages_wait_and_arrive_in_order(broker: Broker, gate: Gate, tmp_path: Path) -> None:
    ours = publisher(gate.port, durable=tmp_path / "outbox")
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


def test_broker_killed_in_load_loses_nothing(broker: Broker, gate: Gate, tmp_path: Path) -> None:
    ours = publisher(gate.port, durable=tmp_path / "outbox")
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
        wait_for(lambda: len(set(deliveries(seen))) == sent, what="all of them")
        assert first_sights(deliveries(seen)) == list(range(1, sent + 1))
    ours.close()


@pytest.mark.parametrize("durable", [False, True])
def test_broker_frozen_is_noticed_and_blocks_nothing(broker: Broker, tmp_path: Path, *, durable: bool) -> None:
    settings = options(broker.port, queue_messages=200, keepalive_s=1)
    ours = MqttPublisher(settings, ORIGIN, outbox=outbox_options(tmp_path / "outbox") if durable else None)
    connected(ours)
    broker.freeze()
    began = time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = longest_s = 0.0
    while ours.counters().connected and time.monotonic() - began < 10:
        longest_s = max(longest_s, publish_all(ours, 20, first=int(sent)))
        sent += 20
        time.sleep(0.01)
    noticed_s = time.monotonic() - began
    assert noticed_s < 2 * settings.keepalive_s + 2  # looked at once a second
    assert longest_s < 0.25
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


def test_broker_frozen_close_is_quick_and_leaves_the_will(broker: Broker, tmp_path: Path) -> None:
    ours = publisher(broker.port, durable=tmp_path / "outbox")
    connected(ours)
    wait_for(lambda: ours.counters().acknowledged)
    broker.freeze()
    publish_all(ours, 50)
    began = time.monotonic()
    ours.close()
    assert time.monotonic() - began < 2
    broker.thaw()
    with Subscriber(broker.port) as seen:
        wait_for(lambda: seen.last(f"{BASE}/status") == b"offline")
        again = publisher(broker.port, durable=tmp_path / "outbox")
        wait_for(lambda: again.counters().connected and not again.counters().waiting)
        again.close()


def test_broker_unreachable_close_is_quick() -> None:
    for host in ("127.0.0.1", "192.0.2.1"):  # refused; and TEST-NET-1, where nobody answers
        ours = MqttPublisher(MqttOptions(host, free_port()), ORIGIN)
        time.sleep(0.1)
        began = time.monotonic()
        ours.close()
        assert time.monotonic() - began < 2
        ours._network._thread.join(10)


def test_broker_slow_network_drops_oldest_and_stays_bounded(broker: Broker, gate: Gate) -> None:
    ours = MqttPublisher(options(gate.port, queue_messages=100, keepalive_s=60), ORIGIN)
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
def test_broker_half_open_connection_is_replaced(broker: Broker, gate: Gate, tmp_path: Path, protocol: str) -> None:
    ours = publisher(gate.port, durable=tmp_path / "outbox", keepalive_s=1, protocol=protocol)
    connected(ours)
    with Subscriber(broker.port) as seen:
        gate.upstream = gate.downstream = False  # packets vanish, nobody says so
        publish_all(ours, 20)
        noticed_s = wait_for(lambda: not ours.counters().connected, what="noticed")
        assert noticed_s < 3.5
        gate.close()
        gate.open()
        wait_for(lambda: ours.counters().waiting == 0)
        wait_for(lambda: set(deliveries(seen)) == set(range(1, 21)))
    ours.close()


def test_broker_credentials_revoked_keeps_the_outbox_and_retries_slowly(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    write_passwords(passwords, box="right", reader="reads")
    broker = Broker(tmp_path, free_port(), ("allow_anonymous false", f"password_file {passwords}")).start()
    ours = publisher(broker.port, durable=tmp_path / "outbox", username="box", password="right", refused_retry_s=1)
    try:
        connected(ours)
        with Subscriber(broker.port, username="reader", password="reads") as seen:
            write_passwords(passwords, box="changed", reader="reads")
            broker.reload()
            wait_for(lambda: "credentials of user 'box'" in ours.counters().last_error, what="named")
            attempts = broker.log().count("not authorised") + broker.log().count("bad user name or password")
            publish_all(ours, 50)
            time.sleep(1.2)
            later = broker.log().count("not authorised") + broker.log().count("bad user name or password")
            assert later - attempts <= 3, "no storm"
            write_passwords(passwords, box="right", reader="reads")
            broker.reload()
            wait_for(lambda: ours.counters().connected)
            wait_for(lambda: set(deliveries(seen)) == set(range(1, 51)))
            wait_for(lambda: ours.counters().waiting == 0)
        assert "right" not in ours.counters().last_error
    finally:
        ours.close()
        broker.kill()


def test_broker_access_revoked_keeps_the_outbox(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite #\n")
    broker = Broker(tmp_path, free_port(), ("allow_anonymous true", f"acl_file {rules}")).start()
    ours = publisher(broker.port, durable=tmp_path / "outbox", protocol="5", refused_retry_s=0.5)
    try:
        connected(ours)
        with Subscriber(broker.port, DETECTIONS) as seen:
            rules.write_text(f"topic read #\ntopic write {BASE}/status\n")
            broker.reload()
            time.sleep(0.2)
            publish_all(ours, 30)
            # Old mosquittos close the connection behind the PUBACK that says why, which may be lost with it.
            wait_for(lambda: "access rules" in ours.counters().last_error, what="named")
            assert ours.counters().waiting == 30
            assert not seen.messages
            rules.write_text("topic readwrite #\n")
            broker.reload()
            wait_for(lambda: set(deliveries(seen)) == set(range(1, 31)))
            wait_for(lambda: ours.counters().waiting == 0)
    finally:
        ours.close()
        broker.kill()


def test_broker_expired_certificate_gets_not_a_byte_in_clear(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "expired", days=-1)
    settings = (f"certfile {made.file('server.pem')}", f"keyfile {made.file('server.key')}", "allow_anonymous true")
    broker = Broker(tmp_path, free_port(), settings).start()
    try:
        with Gate(broker.port) as gate:
            tls = TlsOptions(ca_file=made.file("ca.pem"))
            ours = MqttPublisher(
                MqttOptions("localhost", gate.port, tls=tls, username="box", password="pass-in-clear"), ORIGIN
            )
            publish_all(ours, 10)
            wait_for(lambda: "expired" in ours.counters().last_error)
            ours.close()
            for word in (b"edged", b"pass-in-clear", b"box/", b"MQTT"):
                assert word not in gate.passed
            assert gate.passed[:1] == b"\x16", "a TLS handshake, and nothing before it"
    finally:
        broker.kill()


def test_broker_over_tls_gets_everything(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "good")
    settings = (f"cafile {made.file('ca.pem')}", f"certfile {made.file('server.pem')}",
                f"keyfile {made.file('server.key')}", "require_certificate true", "allow_anonymous true",
                "listener {plain} 127.0.0.1")  # fmt: skip
    plain = free_port()
    broker = Broker(tmp_path, free_port(), tuple(line.format(plain=plain) for line in settings)).start()
    tls = TlsOptions(made.file("ca.pem"), made.file("client.pem"), made.file("client.key"))
    ours = MqttPublisher(
        MqttOptions("localhost", broker.port, tls=tls), ORIGIN, outbox=OutboxOptions(tmp_path / "outbox")
    )
    try:
        connected(ours)
        with Subscriber(plain) as seen:
            publish_all(ours, 500)
            wait_for(lambda: len(deliveries(seen)) == 500)
            assert deliveries(seen) == list(range(1, 501))
    finally:
        ours.close()
        broker.kill()


def test_outbox_on_a_full_disk_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    port = free_port()
    broker = Broker(tmp_path, port)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "t", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("cannot mount a small tmpfs (needs root): disk full is not tested")
    try:
        ours = MqttPublisher(options(port), ORIGIN, outbox=outbox_options(disk, queue_messages=5000))
        assert publish_all(ours, 4000) < 0.25
        wait_for(lambda: not ours._outbox._buffer._pending if ours._outbox else False)
        ours.close()
        dropped = dict(ours.counters().dropped)
        assert set(dropped) <= {"outbox_disk", "outbox_queue"}
        lost = sum(dropped.values())
        assert lost > 1000
        broker.start()
        with Subscriber(port) as seen:
            again = MqttPublisher(options(port), ORIGIN, outbox=outbox_options(disk))
            wait_for(lambda: len(set(deliveries(seen))) == 4000 - lost, what="what was kept")
            sequences = [json.loads(payload)["sequence"] for payload in seen.payloads(DETECTIONS)]
            assert sequences == sorted(sequences)
            assert sequences[-1] == 3999
            again.close()
    finally:
        broker.kill()
        subprocess.run(["umount", "-l", disk], check=True)


KILLED = """
import sys, time
from pathlib import Path
from tests.publish.results import publisher, result
ours = publisher(int(sys.argv[1]), durable=Path(sys.argv[2]))
sequence = 0
while True:
    ours.publish(result(sequence, 1))
    sequence += 1
    time.sleep(0.002)
"""


def kill_repeatedly(broker: Broker, folder: Path, times: int) -> tuple[int, int]:
    """Publish in a process that is killed so often; (messages, duplicates) once all arrived."""
    with Subscriber(broker.port) as seen:
        for seed in range(times):
            daemon = subprocess.Popen([sys.executable, "-c", KILLED, str(broker.port), str(folder)])
            before = len(deliveries(seen))
            wait_for(lambda before=before: len(deliveries(seen)) > before + 5, timeout_s=30)  # type: ignore[misc]
            time.sleep(random.Random(seed).uniform(0, 0.2))
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
            wait_for(lambda: seen.last(f"{BASE}/status") == b"offline", what="the will")
        last = publisher(broker.port, durable=folder)
        wait_for(lambda: last.counters().connected and not last.counters().waiting)
        last.close()
        got = deliveries(seen)
    # Numbers are given at the commit and without gaps: a gap would be a committed message that never arrived.
    assert set(got) == set(range(1, max(got) + 1))
    return len(set(got)), len(got) - len(set(got))


def test_daemon_killed_loses_nothing_committed(broker: Broker, tmp_path: Path) -> None:
    messages, _ = kill_repeatedly(broker, tmp_path / "outbox", 3)
    assert messages > 15


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_daemon_killed_a_hundred_times_loses_nothing_committed(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages, duplicates = kill_repeatedly(broker, tmp_path / "outbox", 100)
    with capsys.disabled():
        sys.stdout.write(f"\n100 kills: {messages} committed, all arrived, {duplicates} duplicates\n")
    assert messages > 500


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
