"""How to reach a broker: plain, frozen settings, checked at birth; the password never shows."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Protocol = Literal["3.1.1", "5"]

MAX_MQTT_PAYLOAD_BYTES = 268_435_455
MAX_PORT = 65535
_MAX_CLIENT_ID_BYTES = 128
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS to the broker: certificate and host name are checked unless `insecure` is said.

    Attributes:
        ca_file: PEM of the authorities to trust; empty trusts the system's.
        cert_file: PEM of the client's certificate; empty sends none.
        key_file: PEM of its key, unencrypted; goes with `cert_file`.
        insecure: accept any certificate: encrypted, but to whom is unknown.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False

    def __post_init__(self) -> None:
        if bool(self.cert_file) != bool(self.key_file):
            given, missing = ("cert_file", "key_file") if self.cert_file else ("key_file", "cert_file")
            raise ValueError(f"TLS {given} is given without {missing}: a client certificate needs both")


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """One broker and how to behave towards it.

    Attributes:
        host: name or address.
        port: 1..65535.
        username: empty connects without credentials.
        password: never shown.
        tls: None speaks plain TCP.
        client_id: empty stands for `edged-<device>`; must be unique at the broker.
        protocol: MQTT version.
        keepalive_s: a broker that is silent for twice this long counts as lost; 1..65535.
        connect_timeout_s: for TCP, TLS and the broker's answer, each.
        queue_messages: what may wait for the network before the oldest is dropped.
        max_payload_bytes: a larger message loses its least confident detections.
        reconnect_min_s, reconnect_max_s: back-off, doubled from the one to the other, jittered.
        refused_retry_s: wait after refused credentials.
    """

    host: str
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    tls: TlsOptions | None = None
    client_id: str = ""
    protocol: Protocol = "5"
    keepalive_s: int = 10
    connect_timeout_s: float = 5.0
    queue_messages: int = 1024
    max_payload_bytes: int = 256 * 1024
    reconnect_min_s: float = 0.5
    reconnect_max_s: float = 5.0
    refused_retry_s: float = 60.0

    def __post_init__(self) -> None:
        require_host(self.host)
        _require_range("broker port", self.port, 1, MAX_PORT)
        _require_range("keepalive_s", self.keepalive_s, 1, 65535)
        _require_range("connect_timeout_s", self.connect_timeout_s, 0.1, 300)
        _require_range("queue_messages", self.queue_messages, 1, 1_000_000)
        _require_range("max_payload_bytes", self.max_payload_bytes, 1024, MAX_MQTT_PAYLOAD_BYTES)
        _require_range("reconnect_min_s", self.reconnect_min_s, 0.01, 3600)
        _require_range("reconnect_max_s", self.reconnect_max_s, self.reconnect_min_s, 3600)
        _require_range("refused_retry_s", self.refused_retry_s, self.reconnect_min_s, 86400)
        if self.protocol not in ("3.1.1", "5"):
            raise ValueError(f'protocol must be "3.1.1" or "5", got {self.protocol!r}')
        if self.password and not self.username:
            raise ValueError("a broker password is given without a username")
        if len(self.client_id.encode()) > _MAX_CLIENT_ID_BYTES:
            raise ValueError(f"client_id must be at most {_MAX_CLIENT_ID_BYTES} bytes")

    @property
    def address(self) -> str:
        """`host:port`, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """Where durable messages wait, and how many at most; beyond it the oldest are dropped and counted.

    Attributes:
        directory: made when missing, private to this user; holds nothing else.
        max_bytes: of payloads on disk.
        max_age_s: older messages are not worth sending.
        commit_interval_s: group commit: a message is on disk at most this long after it was accepted.
        queue_messages: what may wait in memory for the disk.
    """

    directory: Path
    max_bytes: int = 1 << 30
    max_age_s: float = 7 * 86400.0
    commit_interval_s: float = 0.05
    queue_messages: int = 1024

    def __post_init__(self) -> None:
        _require_range("outbox max_bytes", self.max_bytes, 4096, 1 << 50)
        _require_range("outbox max_age_s", self.max_age_s, 1, 10 * 365 * 86400)
        _require_range("outbox commit_interval_s", self.commit_interval_s, 0, 10)
        _require_range("outbox queue_messages", self.queue_messages, 1, 1_000_000)


def require_host(host: str) -> None:
    """Raise ValueError unless `host` is a name or an address and nothing else; the message quotes no credentials."""
    if _is_host(host):
        return
    scheme, _, rest = host.rpartition("://")
    if scheme.lower() in {"ws", "wss"}:
        raise ValueError("MQTT over WebSockets is not supported: name the broker and its MQTT port")
    problem = (
        f"{scheme}:// does not belong there: " if scheme.isalnum() else "the name or address alone belongs there: "
    )
    if "@" in rest:
        problem = "credentials have keys of their own, username and password: "
    name, port = _split_port(rest.rpartition("@")[2].partition("/")[0])
    if _is_host(name) and (not port or 0 < int(port) <= MAX_PORT):
        more = f", port = {port}" if port else ""
        tls = ", tls = true" if scheme.lower() in {"mqtts", "ssl", "tls"} else ""
        raise ValueError(f'{problem}say host = "{name}"{more}{tls}')
    # What has a colon or @ may hold a password.
    got = "" if {":", "@"} & set(host) else f", got {host!r}"
    raise ValueError(f"the broker's name or address is expected{got}")


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        return True
    try:
        return _NAME.fullmatch(text.encode("idna").decode("ascii")) is not None  # as the resolver encodes it
    except UnicodeError:
        return False


def _split_port(text: str) -> tuple[str, str]:
    """Name or address, and port; empty where there is none."""
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        return name, port[1:] if port[1:].isdecimal() else ""
    name, _, port = text.rpartition(":")
    return (name, port) if name and port.isdecimal() else (text, "")


def _require_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low:g} to {high:g}, got {value}")
