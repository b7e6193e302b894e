"""Reads the password for a registry from a file in the form of docker's `config.json`."""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from pathlib import Path
from typing import Any

from edged.core.errors import ConfigError
from edged.core.secrets import remember

CREDENTIAL = "registry"  # of systemd
_MOST_BYTES = 1 << 20
_FORM = '{"auths": {"registry.example.org": {"auth": "BASE64 OF user:password"}}}, as `docker login` writes it'


def read_credentials(host: str, file: Path | None) -> tuple[str, str] | None:
    """User and password for a registry; None where there are none. They are remembered as secrets.

    Args:
        host: of the registry, with its port.
        file: in the form of docker's `config.json`; None: systemd's credential `registry`, else docker's own file.

    Raises:
        ConfigError: the file cannot be read or is misshapen, everyone may read it, or a given one lacks the registry.
    """
    path = file or _usual()
    if path is None:
        return None
    found = _entry(path, _read(path), host)
    if found is None and file is not None:
        raise ConfigError(f"{path} has no entry for {host}", remedy=f"it must look like {_FORM}")
    if found is not None:
        user, password = found
        remember([password, f"{user}:{password}"])
    return found


def _usual() -> Path | None:
    given, docker = os.environ.get("CREDENTIALS_DIRECTORY", ""), os.environ.get("DOCKER_CONFIG", "")
    places = [Path(given) / CREDENTIAL] if given else []
    places.append((Path(docker) if docker else Path("~/.docker").expanduser()) / "config.json")
    return next((place for place in places if os.access(place, os.R_OK)), None)


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            content = file.read(_MOST_BYTES) if stat.S_ISREG(mode) else b""
    except OSError as exc:
        raise ConfigError(f"registry credentials {path} cannot be read: {exc.strerror}") from exc
    if mode & stat.S_IROTH:
        raise ConfigError(f"{path} holds a registry's password and everyone may read it", remedy=f"chmod 600 {path}")
    if not content.strip():  # systemd hands over an empty one where there is none
        return {}
    try:
        return json.loads(content)
    except ValueError:  # its message could quote a password
        raise ConfigError(f"registry credentials {path} are not JSON", remedy=f"expected {_FORM}") from None


def _entry(path: Path, whole: Any, host: str) -> tuple[str, str] | None:  # noqa: ANN401 - JSON
    auths = whole.get("auths", {}) if isinstance(whole, dict) else None
    if not isinstance(auths, dict):
        raise ConfigError(f"registry credentials {path} are misshapen", remedy=f"expected {_FORM}")
    entry = next((auths[key] for key in (host, f"https://{host}", f"https://{host}/") if key in auths), None)
    if entry is None:
        return None
    try:
        if "auth" in entry:
            user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        else:
            user, colon, password = str(entry["username"]), ":", str(entry["password"])
    except (KeyError, TypeError, ValueError, binascii.Error):
        user = colon = password = ""
    if not (user and colon and password):
        where = "a helper program keeps the password" if {"credsStore", "credHelpers"} & whole.keys() else "misshapen"
        raise ConfigError(f"{path}: the entry for {host} holds no user and password ({where})", remedy=f"use {_FORM}")
    return user, password
