"""What the page's own file may say, `view.toml`: where to listen, who may look, and the broker of a fleet."""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from edged.config.credentials import read_password_file
from edged.config.lines import line_of
from edged.config.problems import in_words
from edged.config.schema import Mqtt
from edged.config.section import Section
from edged.config.toml import Document, read_toml
from edged.core.errors import ConfigError
from edged.core.secrets import remember
from edged.publish.options import MAX_PORT

CONFIG = Path("/etc/edged/view.toml")
# Credentials of systemd.
FILE, TOKEN, CERTIFICATE, KEY = "view.toml", "view-token", "view-cert", "view-key"
PORT = 8710
LEAST_TOKEN = 16  # characters


class Listen(Section, frozen=True):
    """`[listen]`."""

    address: str = "127.0.0.1"
    port: Annotated[int, Interval(ge=0, le=MAX_PORT)] = PORT
    hosts: tuple[str, ...] = ()
    token: SecretStr = SecretStr("")
    token_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    proxy: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return self.address.lower() == "localhost"

    @property
    def encrypts(self) -> bool:
        """Whether a browser speaks TLS, to this program or to a proxy before it."""
        return self.cert_file is not None or self.proxy

    @model_validator(mode="after")
    def _may_be_open(self) -> Listen:
        token = self.token.get_secret_value()
        if token and len(token) < LEAST_TOKEN:
            raise ValueError(f"a token has at least {LEAST_TOKEN} characters; make one with: openssl rand -hex 24")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.is_loopback and not self.proxy:
            return self
        if not token:
            where = "the proxy" if self.is_loopback else self.address
            raise ValueError(
                f"{where} is reached from other machines: give a token (token_file, or the credential {TOKEN})"
            )
        if not self.encrypts:
            raise ValueError(
                f"{self.address} is reached from other machines, and the token would go there in the clear: give "
                "cert_file and key_file, or say proxy = true where a proxy before this program speaks TLS"
            )
        return self


class FeedPlace(Section, frozen=True):
    """`[feed]`."""

    socket: Path | None = None


class Events(Section, frozen=True):
    """`[events]`."""

    file: Path | None = None


class ViewSettings(Section, frozen=True):
    """The whole of view.toml."""

    listen: Listen = Field(default_factory=Listen)
    feed: FeedPlace = Field(default_factory=FeedPlace)
    events: Events = Field(default_factory=Events)
    mqtt: Mqtt = Field(default_factory=Mqtt)  # for --fleet


def load_view_settings(
    path: Path | None, changes: Mapping[str, Mapping[str, Any]], *, events: Path | None = None
) -> ViewSettings:
    """Settings of the file, changed by the command line, with secrets from their files and credentials.

    Args:
        path: of the file; None for the usual one, which may be missing.
        changes: keys by section.
        events: where events are kept if nobody says otherwise.

    Raises:
        ConfigError: one line a problem.
    """
    found = _usual() if path is None else path
    document = Document({}, {}) if found is None else _read(found)
    raw: dict[str, Any] = {"events": {}, "listen": {}, **document.table}
    for section, keys in changes.items():
        if isinstance(raw.get(section, {}), dict):  # what is no table is refused below
            raw[section] = {**raw.get(section, {}), **keys}
    if events is not None and isinstance(raw["events"], dict):
        raw["events"] = {"file": events, **raw["events"]}
    _use_credentials(raw)
    _fill(raw, "listen", "token")
    _fill(raw, "mqtt", "password")
    try:
        return ViewSettings.model_validate(raw)
    except ValidationError as exc:
        problems = [_described(error, found, document) for error in exc.errors()]
        raise ConfigError("\n".join(problems)) from None  # pydantic's own text quotes values, secrets included


def _usual() -> Path | None:
    given = os.environ.get("CREDENTIALS_DIRECTORY", "")
    places = [Path(given) / FILE] if given else []
    return next((place for place in (*places, CONFIG) if os.access(place, os.R_OK)), None)


def _read(path: Path) -> Document:
    try:
        return read_toml(path)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read by user {os.geteuid()}: {exc.strerror}") from exc


def _fill(raw: dict[str, Any], section: str, key: str) -> None:
    """Read a secret from the file that `KEY_file` names."""
    table = raw.get(section, {})
    if not isinstance(table, dict):
        return
    if table.get(f"{key}_file") is not None:
        table = raw[section] = {**table, key: read_password_file(str(table[f"{key}_file"]))}
    if isinstance(table.get(key), str):
        remember([table[key]])


def _use_credentials(raw: dict[str, Any]) -> None:
    """Take token, certificate and key from systemd's credentials, where the file names no others."""
    table = raw["listen"]
    if not isinstance(table, dict):
        return
    given = {"token_file": _credential(TOKEN), "cert_file": _credential(CERTIFICATE), "key_file": _credential(KEY)}
    if table.get("token"):
        given.pop("token_file")
    raw["listen"] = {**{key: path for key, path in given.items() if path is not None}, **table}


def _credential(name: str) -> Path | None:
    """A credential's file; None where there is none, or only line breaks."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(directory) / name
    return path if directory and path.is_file() and path.read_bytes().strip(b"\r\n") else None


def _described(error: ErrorDetails, path: Path | None, document: Document) -> str:
    key = tuple(error["loc"][:2])
    where = "the command line" if path is None else f"{path}:{line_of(document.lines, key)}"
    name = f"[{key[0]}] {key[1]}" if len(key) > 1 else f"[{key[0]}]" if key else ""
    if error["type"] == "extra_forbidden":
        section = ViewSettings.model_fields.get(str(key[0]))
        keys = [*ViewSettings.model_fields] if len(key) < 2 or section is None else [*section.annotation.model_fields]  # type: ignore[union-attr]  # noqa: PLR2004
        near = difflib.get_close_matches(str(key[-1]), keys, n=1)
        return f"{where}: {name}: unknown key; {f'did you mean {near[0]!r}?' if near else ', '.join(keys)}"
    # A whole section may hold a secret.
    secret = len(key) < 2 or any(word in str(key[-1]) for word in ("token", "password", "host", "path"))  # noqa: PLR2004
    return f"{where}: {name}: {in_words(error, secret=secret)}"
