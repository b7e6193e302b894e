"""Options for broker and outbox: frozen, checked when they are made; `repr` never shows the password."""

# No `from __future__ import annotations` here: pydantic before 2.10 resolves annotations in the subclass's module.

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen

from edged.core.options import require_valid

MAX_MQTT_PAYLOAD_BYTES = 268_435_455
MAX_PORT = 65535
WEBSOCKETS = "websockets"
PORTS = Interval(ge=1, le=MAX_PORT)
DAY_S = 86_400
OUTBOX_MAX_MB, MOST_OUTBOX_MB = 1000, 1 << 30  # default and largest
OUTBOX_MAX_DAYS, MOST_OUTBOX_DAYS = 7.0, 3650
_MOST_ALPN_BYTES = 255  # RFC 7301
_PATH = re.compile(r"/[!-~]*")  # printable ASCII without spaces
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


@dataclass(frozen=True)
class TlsOptions:
    """TLS to the broker: certificate and host name are checked unless `insecure` is set. Also keys of `[mqtt]`.

    Attributes:
        ca_file: PEM of the authorities to trust; None trusts the system's.
        cert_file: PEM of the client's certificate; None sends none.
        key_file: PEM of its key, unencrypted; needs `cert_file`.
        insecure: accept any certificate: encrypted, but the other side may be anybody.
        alpn: protocols that the handshake offers, best first, as `x-amzn-mqtt-ca`; none for none.

    Raises:
        ValueError: one of certificate and key without the other, or a protocol that has no such name.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False
    alpn: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_valid(self)
        require_pair(self)
        require_alpn(self.alpn)


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Options of an MQTT session: keys of `[mqtt]`, with their ranges and defaults.

    Attributes:
        client_id: empty stands for `edged-<device>`; must be unique at the broker.
        protocol: MQTT version.
        keepalive_s: a broker that is silent for twice this long counts as lost.
        transport: `websockets` puts MQTT into a WebSocket, with TLS where that is on.
        path: of the WebSocket, with its query.
        retain: ask the broker to keep states, so that who subscribes later hears them.
    """

    client_id: Annotated[str, MaxLen(128)] = ""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    keepalive_s: Annotated[int, Interval(ge=1, le=3600)] = 10
    transport: Literal["tcp", "websockets"] = "tcp"
    path: Annotated[str, MaxLen(4096)] = "/mqtt"
    retain: bool = True


@dataclass(frozen=True)
class MqttOptions(SessionOptions):
    """One broker, and the options of the session with it.

    Attributes:
        host: name or address.
        port: 1..65535.
        username: empty connects without credentials.
        password: never shown.
        tls: None does not encrypt.
        connect_timeout_s: for each of TCP, TLS, the WebSocket and the broker's answer.
        queue_messages: most messages that wait for the network; then the oldest is dropped.
        max_payload_bytes: a larger message is sent without its least confident detections.
        reconnect_min_s, reconnect_max_s: first and longest delay of the back-off, which doubles, with jitter.
        refused_retry_s: wait after the broker refused this client or a message.

    Raises:
        ValueError: a value that cannot be.
    """

    host: str
    port: Annotated[int, PORTS] = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    tls: TlsOptions | None = None
    connect_timeout_s: Annotated[float, Interval(ge=0.1, le=300.0)] = 5.0
    queue_messages: Annotated[int, Interval(ge=1, le=1_000_000)] = 1024
    max_payload_bytes: Annotated[int, Interval(ge=1024, le=MAX_MQTT_PAYLOAD_BYTES)] = 256 * 1024
    reconnect_min_s: Annotated[float, Interval(ge=0.01, le=3600.0)] = 0.5
    reconnect_max_s: Annotated[float, Interval(ge=0.01, le=3600.0)] = 5.0
    refused_retry_s: Annotated[float, Interval(ge=0.01, le=86_400.0)] = 60.0

    def __post_init__(self) -> None:
        require_host(self.host)
        require_valid(self)
        for key in ("reconnect_max_s", "refused_retry_s"):
            if getattr(self, key) < self.reconnect_min_s:
                raise ValueError(f"{key} must be at least reconnect_min_s, {self.reconnect_min_s:g} s")
        require_user(self.username, self.password)
        require_path(self.path)

    @property
    def authority(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def address(self) -> str:
        """`host:port`, or `ws://host:port/path`, for messages; without the path's query, which may hold a signature."""
        if self.transport != WEBSOCKETS:
            return self.authority
        return f"{'ws' if self.tls is None else 'wss'}://{self.authority}{self.path.partition('?')[0]}"


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """Where durable messages wait, and how many; beyond a limit the oldest are dropped and counted.

    Attributes:
        directory: made if missing, private to this user; for the outbox only.
        max_bytes: most bytes of payloads on disk.
        max_age_s: older messages are dropped.
        commit_interval_s: pause between two commits: a message normally is on disk at most this long after `put`.
        queue_messages: most messages that wait in memory for the disk.
        detections: keep detections, too, not only events.

    Raises:
        ValueError: a value that cannot be.
    """

    directory: Path
    max_bytes: Annotated[int, Interval(ge=4096, le=MOST_OUTBOX_MB << 20)] = OUTBOX_MAX_MB << 20
    max_age_s: Annotated[float, Interval(ge=1.0, le=MOST_OUTBOX_DAYS * DAY_S)] = OUTBOX_MAX_DAYS * DAY_S
    commit_interval_s: Annotated[float, Interval(ge=0.0, le=10.0)] = 0.05
    queue_messages: Annotated[int, Interval(ge=1, le=1_000_000)] = 1024
    detections: bool = True

    def __post_init__(self) -> None:
        require_valid(self)


def require_pair(tls: TlsOptions) -> None:
    """Raise ValueError if only one of `cert_file` and `key_file` is given."""
    if (tls.cert_file is None) != (tls.key_file is None):
        given, missing = ("key_file", "cert_file") if tls.cert_file is None else ("cert_file", "key_file")
        raise ValueError(
            f"{given} is given without {missing}; cert_file and key_file go together: name both or neither"
        )


def require_alpn(alpn: tuple[str, ...]) -> None:
    """Raise ValueError unless each is a name of a protocol, 1 to 255 printable ASCII letters without spaces."""
    for name in alpn:
        if not (name.isascii() and name.isprintable() and name and " " not in name and len(name) <= _MOST_ALPN_BYTES):
            raise ValueError(f'alpn holds names of protocols, as "x-amzn-mqtt-ca", got {name[:_MOST_ALPN_BYTES]!r}')


def require_path(path: str) -> None:
    """Raise ValueError unless `path` can stand in a WebSocket's address; the message does not quote it."""
    if not _PATH.fullmatch(path) or "#" in path:
        raise ValueError('path must begin with "/" and hold neither spaces nor "#"; other letters as %20')


def require_user(username: str, password: str) -> None:
    """Raise ValueError for a password without a user name."""
    if password and not username:
        raise ValueError(
            "a broker password is given without a username; add username (any, where the broker "
            "looks at the password alone)"
        )


def require_host(host: str) -> None:
    """Raise ValueError unless `host` is a name or an address and nothing else; the message quotes no credentials."""
    if _is_host(host):
        return
    scheme, _, rest = host.rpartition("://")
    problem = (
        f"{scheme}:// does not belong there: " if scheme.isalnum() else "the name or address alone belongs there: "
    )
    if "@" in rest:
        problem = "credentials have keys of their own, username and password: "
    name, port = _split_port(rest.rpartition("@")[2].partition("/")[0])
    if _is_host(name) and (not port or 0 < int(port) <= MAX_PORT):
        more = f", port = {port}" if port else ""
        tls = ", tls = true" if scheme.lower() in {"mqtts", "ssl", "tls", "wss"} else ""
        web = f', transport = "{WEBSOCKETS}", and its path' if scheme.lower() in {"ws", "wss"} else ""
        raise ValueError(f'{problem}say host = "{name}"{more}{tls}{web}')
    # A text with a colon or @ may hold a password.
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
