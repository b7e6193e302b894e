"""Brokers behind a WebSocket, and what a user reads where there is none."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.core.errors import BrokerError, ConfigError
from edged.publish.check import check_broker
from edged.publish.connection import Connection
from edged.publish.faults import BrokerRefusal
from edged.publish.options import MqttOptions, TlsOptions
from tests.brokers import Broker, Certificates, Subscriber, free_port, make_certificates, wait_for
from tests.holdups import FairTime
from tests.publish.clouds import server_tls
from tests.publish.deliveries import connected, deliveries, publish_all
from tests.publish.results import DETECTIONS, options, publisher
from tests.publish.scripted import CONNACK, SESSION_TAKEN_OVER
from tests.publish.web import server_frame, upgrade, web_server
from tests.publish.wire import BINARY


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def web_broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, free_port(), web_port=free_port()).start()
    yield broker
    broker.kill()


def over_web(port: int, **changes: Any) -> MqttOptions:
    return options(port, transport="websockets", **{"connect_timeout_s": 1, **changes})


def answering(answer: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda client, _asked: client.sendall(answer)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize("path", ["/mqtt", "/", "/a/b?c=%20d"])
def test_a_broker_that_listens_for_websockets_is_accepted(web_broker: Broker, path: str, protocol: str) -> None:
    check_broker(over_web(web_broker.web_port, path=path, protocol=protocol))


@pytest.mark.parametrize(
    ("status", "remedy", "refused"),
    [
        ("404 Not Found", r'answers 404 Not Found; check \[mqtt\] path; others than "/mqtt" are', True),
        ("403 Forbidden", r"answers 403 Forbidden; check \[mqtt\] path and its query, and whom", True),
        ("401 Unauthorized", r"answers 401 Unauthorized; check \[mqtt\] path and its query", True),
        ("301 Moved Permanently", r"answers 301 Moved Permanently; name the place that it leads to", True),
        ("200 OK", r"answers 200 OK; check \[mqtt\] port and path: a web server", True),
        ("400 Bad\x1b[31m Request", r"answers 400 Bad\[31m Request; check", True),
        ("502 Bad Gateway", r"answers 502 Bad Gateway; check the broker, and the proxy before it", False),
    ],
)
def test_a_web_server_without_a_websocket_is_named(status: str, remedy: str, *, refused: bool) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n".encode()
    with web_server(answering(answer)) as port, pytest.raises(BrokerError, match=remedy) as caught:
        check_broker(over_web(port, path="/mqtt?token=hidden"))
    assert f"broker ws://127.0.0.1:{port}/mqtt opened no WebSocket" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert isinstance(caught.value, BrokerRefusal) == refused, "a refusal is not tried again soon"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "no answer in HTTP"),
        (b"\x20\x02\x00\x05", "no answer in HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x46", r"no answer in HTTP; .*or expect TLS"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "a false WebSocket handshake"),
        (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", "a false"),
        (b"HTTP/1.1 nonsense\r\n\r\n", "answers nonsense"),
        (b"HTTP/1.1 101 X\r\nX: " + bytes(20_000), "an endless answer"),
    ],
    ids=["nothing", "MQTT", "TLS alert", "no headers", "another key", "no number", "endless"],
)
def test_an_answer_that_opens_no_websocket_is_named(answer: bytes, problem: str) -> None:
    with web_server(answering(answer)) as port, pytest.raises(BrokerError, match=problem):
        check_broker(over_web(port))


def test_a_websocket_of_another_protocol_is_refused() -> None:
    def chat(client: socket.socket, asked: bytes) -> None:
        client.sendall(upgrade(asked, b"Sec-WebSocket-Protocol: chat"))

    with web_server(chat) as port, pytest.raises(BrokerError, match="another protocol than MQTT"):
        check_broker(over_web(port))


def test_a_port_for_mqtt_addressed_with_websockets_is_named(broker: Broker) -> None:
    with pytest.raises(BrokerError, match=rf'ws://127.0.0.1:{broker.port}/mqtt .*; it may be .* transport = "tcp"'):
        check_broker(over_web(broker.port))


def test_a_port_for_websockets_addressed_with_mqtt_is_named(web_broker: Broker) -> None:
    with pytest.raises(BrokerError, match=r'answers in HTTP, not in MQTT; .* \[mqtt\] transport = "websockets"'):
        check_broker(options(web_broker.web_port))


@pytest.mark.parametrize("pause_s", [None, 0.002], ids=["silent", "dripping"])
def test_a_handshake_that_does_not_end_times_out(pause_s: float | None) -> None:
    over = threading.Event()

    def slow(client: socket.socket, _asked: bytes) -> None:
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 1000:
            if over.wait(pause_s):
                return
            client.sendall(bytes([byte]))

    with web_server(slow) as port:
        with FairTime() as took, pytest.raises(BrokerError, match=r"did not answer within 0\.3 s"):
            check_broker(over_web(port, connect_timeout_s=0.3))
        over.set()
    assert took.seconds < 2


def test_a_websocket_behind_which_nobody_speaks_mqtt_times_out() -> None:
    over = threading.Event()

    def mute(client: socket.socket, asked: bytes) -> None:
        client.sendall(upgrade(asked))
        over.wait(10)

    with web_server(mute) as port:
        with pytest.raises(BrokerError, match=r"accepted the connection but did not answer within 0\.3 s"):
            check_broker(over_web(port, connect_timeout_s=0.3))
        over.set()


def test_packets_of_one_frame_are_read_one_after_the_other() -> None:
    """Where the first is read nothing more arrives: what is left must not wait for the next arrival."""
    over = threading.Event()

    def accept_and_take_over(client: socket.socket, asked: bytes) -> None:
        client.sendall(upgrade(asked))
        client.recv(4096)
        client.sendall(server_frame(BINARY, CONNACK + SESSION_TAKEN_OVER))
        over.wait(10)

    with web_server(accept_and_take_over) as port:
        connection = Connection(over_web(port), client_id="x", will=None, context=None)
        connection.open()
        assert connection.lost_code == 0
        connection.step(0.2)
        assert connection.lost_code == SESSION_TAKEN_OVER[2]
        connection.abort()
        over.set()


def test_a_websocket_over_tls_is_verified(tmp_path: Path, certificates: Certificates) -> None:
    ca = certificates.file("ca.pem")
    secured = (f"cafile {ca}", f"certfile {certificates.file('server.pem')}",
               f"keyfile {certificates.file('server.key')}", "require_certificate true")  # fmt: skip
    broker = Broker(tmp_path, free_port(), web_port=free_port(), web_settings=secured).start()
    ours = TlsOptions(ca, certificates.file("client.pem"), certificates.file("client.key"))
    wss = {"host": "localhost", "connect_timeout_s": 2}
    box = publisher(broker.web_port, durable=tmp_path / "outbox", transport="websockets", tls=ours, host="localhost")
    try:
        connected(box)
        with Subscriber(broker.port, DETECTIONS) as seen:
            publish_all(box, 200)
            wait_for(lambda: deliveries(seen) == list(range(1, 201)), what="everything, in order")
        with pytest.raises(BrokerError, match=r"wss://localhost:\d+/mqtt.*certificate"):
            check_broker(over_web(broker.web_port, tls=TlsOptions(ca), **wss))
        with pytest.raises(BrokerError, match="certificate is for localhost, not for 127"):
            check_broker(over_web(broker.web_port, tls=ours))
        with pytest.raises(BrokerError, match="or expect TLS"):
            check_broker(over_web(broker.web_port, **wss))
    finally:
        box.close()
        broker.kill()


def test_a_server_that_resets_the_handshake_for_want_of_a_certificate_is_named(certificates: Certificates) -> None:
    """In TLS 1.3 a refused client learns of it after the handshake, and not always by an alert."""
    context = server_tls(certificates)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as client:
                client.recv(4096)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        helper = threading.Thread(target=reset)
        helper.start()
        wss = over_web(listener.getsockname()[1], host="localhost", tls=TlsOptions(certificates.file("ca.pem")))
        with pytest.raises(BrokerError, match=r"wss://localhost:\d+/mqtt .* not accept a client without certificate"):
            check_broker(wss)
        helper.join(5)


def test_a_websocket_over_tls_to_a_plain_port_is_named(web_broker: Broker) -> None:
    with pytest.raises(BrokerError, match="does not speak TLS on this port; use its TLS port, often 443"):
        check_broker(over_web(web_broker.web_port, tls=TlsOptions(insecure=True)))


def test_a_missing_file_of_tls_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        check_broker(over_web(1, tls=TlsOptions(ca_file=tmp_path / "none.pem")))
