"""Brokers that forbid or cannot be trusted: the outbox is kept, nothing secret leaves, and TLS carries everything."""

from __future__ import annotations

import time
from pathlib import Path

from edged.publish.mqtt import MqttPublisher
from edged.publish.options import MqttOptions, OutboxOptions, TlsOptions
from tests.brokers import Broker, Subscriber, free_port, make_certificates, wait_for, write_passwords
from tests.gates import Gate
from tests.publish.deliveries import connected, deliveries, publish_all
from tests.publish.results import BASE, DETECTIONS, ORIGIN, publisher


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
