"""Every key of edged.toml: its type, range and default. etc/edged.toml explains what each is for."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval, MaxLen
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    model_validator,
)

from edged.config.camera import Camera
from edged.config.feed import Feed
from edged.config.section import Seconds, Section, TopicName
from edged.config.watching import Events, Filter, Snapshots, Track
from edged.core.limits import ScoreLimits
from edged.core.paths import MODELS
from edged.publish.options import (
    MOST_OUTBOX_DAYS,
    MOST_OUTBOX_MB,
    OUTBOX_MAX_DAYS,
    OUTBOX_MAX_MB,
    PORTS,
    WEBSOCKETS,
    SessionOptions,
    TlsOptions,
    require_alpn,
    require_host,
    require_pair,
    require_path,
    require_user,
)
from edged.publish.template import require_template, tells_apart
from edged.publish.topics import PREFIX, Topics
from edged.store.options import ProbationOptions


def _devices(value: object) -> tuple[str, ...]:
    """One name or several, each an index or a UUID, or `auto` alone. Whether such GPUs exist is checked later."""
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError('expected "auto", the index or UUID of a GPU in quotes, or a list of such')
    if len(names) > 1 and "auto" in names:
        raise ValueError('"auto" is one GPU: name each of several by its index or UUID')
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("a GPU is named twice")
    return names


def _durable(value: object) -> object:
    """`true` and `false` are of releases without events: all or nothing was durable."""
    return {True: "all", False: "none"}[value] if isinstance(value, bool) else value


def _prefix(value: str) -> str:
    return Topics(device="any", prefix=value).prefix


def _topic(value: str) -> str:
    require_template(value)
    return value


def _frigate_prefix(value: str) -> str:
    return _prefix(value) if value else ""


def _alpn(value: object) -> object:
    """One name or several."""
    return (value,) if isinstance(value, str) else value


def _alpn_names(value: tuple[str, ...]) -> tuple[str, ...]:
    require_alpn(value)
    return value


def _path(value: str) -> str:
    require_path(value)
    return value


def _broker_host(value: str) -> str:
    host = value[1:-1] if value.startswith("[") and value.endswith("]") and ":" in value else value  # IPv6 as in a URL
    require_host(host)
    return host


def _default_device_id() -> str:
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().split(".")[0].lower())[:64] or "edged"


class Device(Section, frozen=True):
    """`[device]`."""

    id: TopicName = Field(default_factory=_default_device_id)


class Model(Section, ScoreLimits, frozen=True):
    """`[model]`."""

    bundle: Path = MODELS / "active"
    classes: tuple[str, ...] = ()


class Probation(Section, ProbationOptions, frozen=True):
    """`[probation]`."""


class Engine(Section, frozen=True):
    """`[engine]`."""

    backend: Literal["auto", "cpu", "tensorrt"] = "auto"
    device: Annotated[tuple[str, ...], BeforeValidator(_devices)] = ("auto",)
    threads: Annotated[int, Interval(ge=0, le=256)] = 0
    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    free_memory_mb: Annotated[int, Interval(ge=0)] = 512


class Mqtt(Section, SessionOptions, TlsOptions, frozen=True):
    """`[mqtt]`."""

    host: Annotated[str, AfterValidator(_broker_host)] = "localhost"
    port: Annotated[int, PORTS] | None = None
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    prefix: Annotated[str, AfterValidator(_prefix)] = PREFIX
    topic: Annotated[str, AfterValidator(_topic)] = ""
    path: Annotated[str, MaxLen(4096), AfterValidator(_path)] = "/mqtt"
    tls: bool | None = None
    alpn: Annotated[tuple[str, ...], BeforeValidator(_alpn), AfterValidator(_alpn_names)] = ()

    @property
    def is_loopback(self) -> bool:
        """Whether the broker is on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    @model_validator(mode="after")
    def _password_has_a_user(self) -> Mqtt:
        require_user(self.username, self.password.get_secret_value())
        return self

    @model_validator(mode="after")
    def _tls_is_complete(self) -> Mqtt:
        require_pair(self)
        files = [key for key in ("ca_file", "cert_file") if getattr(self, key) is not None]
        if files and self.tls is False:
            raise ValueError(f"tls = false, but {files[0]} is set: remove one of them")
        if not (self.tls or files or self.is_loopback) and self.tls is None:
            raise ValueError(
                f"{self.host} is another machine: say tls = true (recommended), or tls = false to send "
                "detections and password in the clear"
            )
        if self.alpn and not self.uses_tls:
            raise ValueError("alpn is part of TLS, which is off: say tls = true, or remove alpn")
        return self

    @model_validator(mode="after")
    def _path_has_a_websocket(self) -> Mqtt:
        if self.path != SessionOptions.path and self.transport != WEBSOCKETS:
            raise ValueError(f'path is that of a WebSocket: say transport = "{WEBSOCKETS}", or remove path')
        return self

    @model_validator(mode="after")
    def _topic_fits(self) -> Mqtt:
        if self.topic and self.prefix != PREFIX:
            raise ValueError("topic and prefix are both given: write the prefix into topic, and remove it")
        if self.topic and self.retain and not tells_apart(self.topic):
            raise ValueError(
                "the broker retains one message a topic, and this topic is the same for several states: say "
                "retain = false, or put {camera} and {kind} into topic"
            )
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return bool(self.tls or self.ca_file or self.cert_file)


class Publish(Section, frozen=True):
    """`[publish]`."""

    detections: Literal["all", "nonempty"] = "all"
    qos: Literal[0, 1] = 0
    durable: Annotated[Literal["events", "all", "none"], BeforeValidator(_durable)] = "events"
    outbox: Path | None = None
    outbox_max_mb: Annotated[int, Interval(ge=1, le=MOST_OUTBOX_MB)] = OUTBOX_MAX_MB
    outbox_max_days: Annotated[float, Interval(ge=0.001, le=MOST_OUTBOX_DAYS)] = OUTBOX_MAX_DAYS
    stats_interval_s: Seconds = 10.0
    home_assistant: bool = False
    frigate_prefix: Annotated[str, AfterValidator(_frigate_prefix)] = ""


class Log(Section, frozen=True):
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Service(Section, frozen=True):
    """`[service]`."""

    start_grace_s: Seconds = 30.0


class Settings(Section, frozen=True):
    """The whole of edged.toml."""

    device: Device = Field(default_factory=Device)
    model: Model = Field(default_factory=Model)
    probation: Probation = Field(default_factory=Probation)
    engine: Engine = Field(default_factory=Engine)
    mqtt: Mqtt = Field(default_factory=Mqtt)
    publish: Publish = Field(default_factory=Publish)
    track: Track = Field(default_factory=Track)
    filter: dict[str, Filter] = Field(default_factory=dict)
    events: Events = Field(default_factory=Events)
    snapshots: Snapshots = Field(default_factory=Snapshots)
    feed: Feed = Field(default_factory=Feed)
    log: Log = Field(default_factory=Log)
    service: Service = Field(default_factory=Service)
    camera: tuple[Camera, ...] = ()
    # edged-provision reads and checks it; the daemon ignores it.
    provision: dict[str, Any] = Field(default_factory=dict)
