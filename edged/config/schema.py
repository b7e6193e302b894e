"""Every key of edged.toml: its type, range and default. etc/edged.toml explains what each is for."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from annotated_types import Interval
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    model_validator,
)

from edged.capture.spec import ReadOptions, Source, require_source
from edged.config.feed import Feed
from edged.config.section import Seconds, Section, TopicName
from edged.config.watching import Events, Filter, Line, Mask, Snapshots, Track, Zone
from edged.core.limits import ScoreLimits
from edged.core.names import require_camera_name
from edged.core.paths import MODELS
from edged.core.sources import ACCEPTED, SCHEMES, foreign_scheme, misspelt, scheme_of
from edged.publish.options import (
    MOST_OUTBOX_DAYS,
    MOST_OUTBOX_MB,
    OUTBOX_MAX_DAYS,
    OUTBOX_MAX_MB,
    PORTS,
    SessionOptions,
    TlsOptions,
    require_host,
    require_pair,
    require_user,
)
from edged.publish.topics import Topics


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


def _source(value: str) -> str:
    require_source(value)
    if scheme_of(value.strip()):
        value = value.strip()  # a multi-line string in TOML ends in a line break
    if foreign := foreign_scheme(value):
        raise ValueError(f"scheme {foreign} is not supported; use {ACCEPTED}")
    if (problem := misspelt(value)) and not Path(value).exists():
        raise ValueError(problem)
    return value


def _durable(value: object) -> object:
    """`true` and `false` are of releases without events: all or nothing was durable."""
    return {True: "all", False: "none"}[value] if isinstance(value, bool) else value


def _camera_name(value: str) -> str:
    require_camera_name(value)
    return value


def _prefix(value: str) -> str:
    return Topics(device="any", prefix=value).prefix


def _frigate_prefix(value: str) -> str:
    return _prefix(value) if value else ""


def _broker_host(value: str) -> str:
    host = value[1:-1] if value.startswith("[") and value.endswith("]") and ":" in value else value  # IPv6 as in a URL
    require_host(host)
    return host


def _default_device_id() -> str:
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().split(".")[0].lower())[:64] or "edged"


_USERNAME, _PASSWORD = (
    "{username}",
    "{password}",
)  # placeholders in a source that has no usual place for them


class Device(Section, frozen=True):
    """`[device]`."""

    id: TopicName = Field(default_factory=_default_device_id)


class Model(Section, ScoreLimits, frozen=True):
    """`[model]`."""

    bundle: Path = MODELS / "active"
    classes: tuple[str, ...] = ()


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
    prefix: Annotated[str, AfterValidator(_prefix)] = "edged"
    tls: bool | None = None

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


class Camera(Section, ReadOptions, frozen=True):
    """`[[camera]]`: how to read it, and what."""

    name: Annotated[str, AfterValidator(_camera_name)]
    source: Annotated[Source, Field(repr=False), AfterValidator(_source)]
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    zone: tuple[Zone, ...] = ()
    line: tuple[Line, ...] = ()
    mask: tuple[Mask, ...] = ()

    @model_validator(mode="after")
    def _credentials_have_a_place(self) -> Camera:
        password, placed = bool(self.password.get_secret_value()), self._has_places
        if placed and not self.username and _USERNAME in self.source:
            raise ValueError(f"source says where username and password go, but there is no username for {_USERNAME}")
        if placed and password != (_PASSWORD in self.source):
            lacks = f"no password for {_PASSWORD}" if not password else f"no {_PASSWORD} for the password"
            raise ValueError(f"source says where username and password go, but there is {lacks}")
        if not self.username and not placed and password:
            raise ValueError("a password is given without a username; add username")
        if self.username and not placed and scheme_of(self.source) not in SCHEMES:
            raise ValueError(
                "username and password go into a URL, and source is none; write rtsp://... or http://..., "
                f"put {_PASSWORD} where the password belongs, or remove them"
            )
        return self

    @property
    def _has_places(self) -> bool:
        return _USERNAME in self.source or _PASSWORD in self.source

    def source_with_credentials(self) -> str:
        """`source` with `username` and `password` in its URL, or in its placeholders. Never show it."""
        password = self.password.get_secret_value()
        if self._has_places:
            return _filled(_filled(self.source, _USERNAME, self.username), _PASSWORD, password)
        if not self.username:
            return self.source
        # Not with urllib: it refuses a bracket in a password, and drops an empty query.
        credentials = f"{quote(self.username, safe='')}:{quote(password, safe='')}"
        scheme, _, rest = self.source.partition("://")
        address = re.split(r"[/?#]", rest, maxsplit=1)[0]
        return f"{scheme}://{credentials}@{address.rpartition('@')[2]}{rest[len(address) :]}"


def _filled(source: str, place: str, value: str) -> str:
    """`value` at `place`: percent-encoded in a URL, quoted as the value of a GStreamer property."""
    if source.startswith("gst:"):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        source = source.replace(f"={place}", f'="{quoted}"')
    return source.replace(place, quote(value, safe=""))


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
