"""`check_broker` tells every way in which a broker cannot be used from the others."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edged.core.errors import BrokerError, ConfigError
from edged.publish.check import check_broker
from edged.publish.options import MqttOptions, TlsOptions
from tests.brokers import Broker, Certificates, free_port, make_certificates, write_passwords
from tests.holdups import FairTime
from tests.publish.results import options, publisher


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def tls_broker(folder: Path, made: Certificates, *more: str) -> Iterator[Broker]:
    folder.mkdir()
    settings = (f"cafile {made.file('ca.pem')}", f"certfile {made.file('server.pem')}",
                f"keyfile {made.file('server.key')}", "allow_anonymous true", *more)  # fmt: skip
    broker = Broker(folder, free_port(), settings).start()
    try:
        yield broker
    finally:
        broker.kill()


def over_tls(broker: Broker, tls: TlsOptions, host: str = "localhost") -> MqttOptions:
    return MqttOptions(host, broker.port, tls=tls, connect_timeout_s=2)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_check_broker_accepts_a_good_one(broker: Broker, protocol: str) -> None:
    check_broker(options(broker.port, protocol=protocol))


def test_check_broker_does_not_disturb_the_daemon(broker: Broker) -> None:
    ours = publisher(broker.port)
    while not ours.counters().connected:
        time.sleep(0.01)
    check_broker(options(broker.port))
    time.sleep(0.1)
    assert ours.counters().connects == 1
    ours.close()


def test_check_broker_port_refused_is_named() -> None:
    port = free_port()
    with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port} refused the connection; check") as caught:
        check_broker(options(port))
    assert caught.value.exit_code == 69


def test_check_broker_unknown_host_is_named() -> None:
    with pytest.raises(BrokerError, match=r"'no\.such\.host\.invalid' cannot be resolved"):
        check_broker(MqttOptions("no.such.host.invalid"))


def test_check_broker_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with FairTime() as took, pytest.raises(BrokerError, match=r"did not answer within 0\.3 s"):
            check_broker(options(silent.getsockname()[1], connect_timeout_s=0.3))
        assert took.seconds < 2


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\x01", b"\x20\x00", b"\x30\x02\x00\x09"]
)
def test_check_broker_server_that_speaks_no_mqtt_is_an_error(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1"):
            check_broker(options(server.getsockname()[1], connect_timeout_s=0.5))
        thread.join()


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize(("username", "password"), [("box", "wrong"), ("nobody", "right"), ("", "")])
def test_check_broker_refused_credentials_name_the_user(
    tmp_path: Path, protocol: str, username: str, password: str
) -> None:
    write_passwords(tmp_path / "passwords", box="right")
    broker = Broker(tmp_path, free_port(), ("allow_anonymous false", f"password_file {tmp_path}/passwords")).start()
    try:
        check_broker(options(broker.port, protocol=protocol, username="box", password="right"))
        with pytest.raises(BrokerError, match="username and password") as caught:
            check_broker(options(broker.port, protocol=protocol, username=username, password=password))
    finally:
        broker.kill()
    assert (repr(username) if username else "without credentials") in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_check_broker_tls_is_verified_by_authority_and_name(tmp_path: Path, certificates: Certificates) -> None:
    with tls_broker(tmp_path / "broker", certificates) as broker:
        check_broker(over_tls(broker, TlsOptions(ca_file=certificates.file("ca.pem"))))
        with pytest.raises(BrokerError, match="certificate is not accepted"):
            check_broker(over_tls(broker, TlsOptions()))
        with pytest.raises(BrokerError, match=r"certificate is for localhost, not for 127\.0\.0\.1"):
            check_broker(over_tls(broker, TlsOptions(ca_file=certificates.file("ca.pem")), host="127.0.0.1"))
        check_broker(over_tls(broker, TlsOptions(insecure=True), host="127.0.0.1"))


def test_check_broker_tls_client_certificate(tmp_path: Path, certificates: Certificates) -> None:
    with tls_broker(tmp_path / "broker", certificates, "require_certificate true") as broker:
        ca = certificates.file("ca.pem")
        check_broker(over_tls(broker, TlsOptions(ca, certificates.file("client.pem"), certificates.file("client.key"))))
        with pytest.raises(BrokerError, match=r"client without certificate|refused this client.*certificate"):
            check_broker(over_tls(broker, TlsOptions(ca)))


def test_check_broker_expired_certificate_is_refused(tmp_path: Path) -> None:
    expired = make_certificates(tmp_path / "expired", days=-1)
    with tls_broker(tmp_path / "broker", expired) as broker:
        with pytest.raises(BrokerError, match="certificate has expired"):
            check_broker(over_tls(broker, TlsOptions(ca_file=expired.file("ca.pem"))))
        assert "New client connected" not in broker.log()


def test_check_broker_tls_to_a_plain_port_is_named(broker: Broker) -> None:
    with pytest.raises(BrokerError, match="not speak TLS on this port"):
        check_broker(over_tls(broker, TlsOptions(insecure=True), host="127.0.0.1"))


def test_check_broker_plain_to_a_tls_port_is_named(tmp_path: Path, certificates: Certificates) -> None:
    with (
        tls_broker(tmp_path / "broker", certificates) as broker,
        pytest.raises(BrokerError, match="it may expect TLS"),
    ):
        check_broker(options(broker.port, connect_timeout_s=1))


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_check_broker_missing_tls_file_is_a_configuration_error(
    tmp_path: Path, certificates: Certificates, key: str
) -> None:
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
    paths: dict[str, Any] = {name: certificates.file(file) for name, file in files.items()}
    paths[key] = tmp_path / "missing.pem"
    with pytest.raises(ConfigError, match=rf"{key} .*missing\.pem: No such file"):
        check_broker(MqttOptions("localhost", tls=TlsOptions(**paths)))


def test_check_broker_tls_file_that_is_no_pem_is_a_configuration_error(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("hello")
    with pytest.raises(ConfigError, match="ca_file"):
        check_broker(MqttOptions("localhost", tls=TlsOptions(ca_file=junk)))
    with pytest.raises(ConfigError, match="no pair"):
        check_broker(MqttOptions("localhost", tls=TlsOptions(cert_file=junk, key_file=junk)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"host": ""}, "name or address is expected, got ''$"),
        ({"host": "a b"}, "name or address is expected, got 'a b'"),
        ({"host": "mqtt://x"}, '^mqtt:// does not belong there: say host = "x"$'),
        ({"host": "x:1883"}, 'address alone belongs there: say host = "x", port = 1883$'),
        ({"host": "[::1]:1883"}, 'say host = "::1", port = 1883$'),
        ({"host": "mqtts://u:secret@x:8883/y"}, '^credentials have .*: say host = "x", port = 8883, tls = true$'),
        ({"host": "u:secret@"}, "address is expected$"),
        ({"host": "mqtt://x:secret"}, "address is expected$"),
        (
            {"host": "wss://u:secret@x/mqtt"},
            '^credentials have .*: say host = "x", tls = true, transport = "websockets", and its path$',
        ),
        ({"host": "ws://x:8080"}, '^ws:// .*: say host = "x", port = 8080, transport = "websockets", and its path$'),
        ({"path": "mqtt?token=hidden"}, 'begin with "/" and hold neither spaces nor "#"; other letters as %20$'),
        ({"path": "/a b"}, "neither spaces"),
        ({"path": "/\r\nX: y"}, "neither spaces"),
        ({"transport": "unix"}, "tcp or websockets"),
        ({"host": "x:99999"}, "address is expected$"),
        ({"host": "a..b"}, "address is expected, got 'a..b'"),
        ({"host": "a" * 64}, "address is expected, got 'aaa"),
        ({"host": "x\0"}, "address is expected"),
        ({"port": 0}, "1 to 65535, got 0"),
        ({"port": 70000}, "1 to 65535, got 70000"),
        ({"protocol": "4"}, '"3.1.1" or "5"'),
        ({"password": "x"}, "without a username"),
        ({"keepalive_s": 0}, "keepalive_s"),
        ({"client_id": "x" * 200}, "client_id"),
        ({"reconnect_max_s": 0.1}, "reconnect_max_s"),
        ({"max_payload_bytes": 3}, "max_payload_bytes"),
    ],
    ids=str,
)
def test_mqtt_options_impossible_value_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MqttOptions(**{"host": "localhost", **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", ["localhost", "a.b", "a.b.", "my_broker", "bröker.example", "10.0.0.1", "::1", "fe80::1%eth0"]
)
def test_mqtt_options_name_or_address_is_taken(host: str) -> None:
    assert MqttOptions(host).host == host


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({}, "box:1883"),
        ({"transport": "websockets", "port": 8080}, "ws://box:8080/mqtt"),
        ({"transport": "websockets", "path": "/a?X-Signature=hidden"}, "ws://box:1883/a"),
        ({"transport": "websockets", "tls": TlsOptions(), "port": 443}, "wss://box:443/mqtt"),
        ({"transport": "websockets", "host": "::1"}, "ws://[::1]:1883/mqtt"),
    ],
    ids=str,
)
def test_mqtt_options_address_says_transport_and_hides_the_query(more: dict[str, Any], address: str) -> None:
    assert MqttOptions(**{"host": "box", **more}).address == address


@pytest.mark.parametrize("alpn", ["", "a b", "ä", "x" * 256, "a\n"])
def test_tls_options_what_is_no_protocol_is_named(alpn: str) -> None:
    with pytest.raises(ValueError, match='alpn holds names of protocols, as "x-amzn-mqtt-ca"'):
        TlsOptions(alpn=("mqtt", alpn))


def test_tls_options_half_a_pair_is_named() -> None:
    with pytest.raises(ValueError, match="key_file is given without cert_file"):
        TlsOptions(key_file=Path("k"))
    with pytest.raises(ValueError, match="cert_file is given without key_file"):
        TlsOptions(cert_file=Path("c"))
