"""A real mosquitto on a free loopback port, and an independent subscriber: what tests of MQTT stand on."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def wait_for(condition: Callable[[], object], *, timeout_s: float = 10.0, what: str = "condition") -> float:
    """Wait until `condition` is true; the seconds that took. AssertionError after `timeout_s`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.01)
    return time.monotonic() - began


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to no outgoing connection until somebody does."""
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first_outgoing, 20_000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


@dataclass
class Broker:
    """One mosquitto; `settings` are lines of mosquitto.conf(5) beyond listener and anonymous access.

    With a `web_port` it listens there for WebSockets, too; `web_settings` are lines of that listener.
    """

    folder: Path
    port: int
    settings: Sequence[str] = ("allow_anonymous true",)
    process: subprocess.Popen[bytes] | None = field(default=None)
    web_port: int = 0
    web_settings: Sequence[str] = ()

    def start(self) -> Broker:
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed: no broker to test against (apt-get install mosquitto)")
        config = self.folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "max_queued_messages 0", "user root", *self.settings]
        if self.web_port:
            lines += [f"listener {self.web_port} 127.0.0.1", "protocol websockets", *self.web_settings]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with (self.folder / "mosquitto.log").open("ab") as log:
            command = [MOSQUITTO, "-c", str(config), "-v"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        try:
            wait_for(self._listens, what="mosquitto listens")
        except BaseException:
            self.kill()
            raise
        return self

    def _listens(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"mosquitto ended: {self.log()[-2000:]}")
        for port in filter(None, (self.port, self.web_port)):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return True

    @property
    def box_port(self) -> int:
        """Where a box connects: for WebSockets where the broker listens for them."""
        return self.web_port or self.port

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(encoding="utf-8", errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self) -> None:
        self._signal(signal.SIGHUP)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End orderly; safe to call twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End without a word; safe to call twice."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self._signal(number)
        self._signal(signal.SIGCONT)
        self.process.wait(10)
        self.process = None


@dataclass(frozen=True)
class Received:
    """One message as the subscriber got it."""

    topic: str
    payload: bytes
    retained: bool


class Subscriber:
    """An ordinary client that notes everything, in order, across restarts of the broker.

    Args:
        port: the broker's.
        topic: what to subscribe to.
        session: client id under which the broker keeps what comes while we are away; empty for no such session.
        credentials: `username` and `password`.
    """

    def __init__(self, port: int, topic: str = "#", *, session: str = "", **credentials: Any) -> None:
        self.messages: list[Received] = []
        self._topic = topic
        self._asked = 0  # packet identifier of the latest request for `topic`
        self._granted: set[int] = set()
        self._subscribed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=session, clean_session=not session)
        if credentials:
            client.username_pw_set(**credentials)
        client.on_connect = self._subscribe
        client.on_subscribe = self._note_granted
        client.on_disconnect = lambda *_: self._subscribed.clear()
        client.on_message = self._note
        client.reconnect_delay_set(1, 1)
        client.connect_async("127.0.0.1", port, keepalive=5)
        client.loop_start()
        self._client: paho.Client | None = client

    def _note(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.messages.append(Received(message.topic, bytes(message.payload), message.retain))

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        self._asked = client.subscribe(self._topic, qos=1)[1] or 0

    def _note_granted(self, _client: object, _data: object, packet_id: int, *_: object) -> None:
        self._granted.add(packet_id)
        if packet_id == self._asked:
            self._subscribed.set()

    def ready(self) -> Subscriber:
        """Wait until subscribed at the broker that listens now: a busy client learns late that another is gone."""
        wait_for(self._answered, what="the subscriber's subscription")
        return self

    def _answered(self) -> bool:
        """Whether a broker answers now and has our subscription, which went to it before what it answers here."""
        if not self._subscribed.is_set() or self._client is None:
            return False
        packet_id = self._client.subscribe("nothing/is/here")[1]
        with contextlib.suppress(AssertionError):
            wait_for(lambda: packet_id in self._granted or not self._subscribed.is_set(), timeout_s=1.0)
        return packet_id in self._granted and self._subscribed.is_set()

    def payloads(self, topic: str) -> list[bytes]:
        """Everything received on one topic, in order."""
        return [each.payload for each in list(self.messages) if each.topic == topic]

    def last(self, topic: str) -> bytes:
        """The latest message on one topic; empty where there was none."""
        return (self.payloads(topic) or [b""])[-1]

    def close(self) -> None:
        """Say goodbye; safe to call twice."""
        client, self._client = self._client, None
        if client is None:
            return
        client.disconnect()
        client.loop_stop()
        # Its callbacks are what keeps the client, and with it two wake-up sockets, until garbage is collected.
        client.on_connect = client.on_subscribe = client.on_disconnect = client.on_message = None

    def __enter__(self) -> Subscriber:
        try:
            return self.ready()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Certificates:
    """PEM files made for one test run: an authority, a server and a client that it signed."""

    folder: Path

    def file(self, name: str) -> Path:
        return self.folder / name


def make_certificates(folder: Path, *, server: str = "localhost", days: int = 30) -> Certificates:
    """An authority (`ca.pem`), `server.pem`/`.key` for `server` valid for `days` (negative: expired), `client.*`."""
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificates to test with")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30",
            "-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    for who, name, valid in (("server", server, days), ("client", "camera box", 30)):
        (folder / f"{who}.ext").write_text(f"subjectAltName=DNS:{name.replace(' ', '-')}\n", encoding="ascii")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{who}.key", "-out", f"{who}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{who}.pem", "-extfile", f"{who}.ext", "-days", str(valid))  # fmt: skip
    return Certificates(folder)


def write_passwords(file: Path, **users: str) -> None:
    """A password file for mosquitto."""
    file.write_text("".join(f"{name}:{password}\n" for name, password in users.items()), encoding="utf-8")
    subprocess.run(["mosquitto_passwd", "-U", str(file)], check=True, capture_output=True)
