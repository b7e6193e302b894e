"""Reads secrets from systemd's credentials and from password files."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edged.core.errors import ConfigError

MAX_BYTES = 65_536
_NO_LINE = "does not hold one line with a password"
_OF_CAMERA = re.compile(r"camera-(.+)-password")

logger = logging.getLogger(__name__)


def read_credentials(config: Path, cameras: object) -> dict[str, Any]:
    """Settings from systemd's `LoadCredential=`: `mqtt-password`, `camera-NAME-password`, and `mqtt-key` (key file).

    Without systemd (`sudo edged check`) the same files are read from the folder `credentials` beside edged.toml, if
    this user may read it. An empty file means that there is none. Cameras are keyed by their number, from 0.

    Args:
        config: edged.toml.
        cameras: `[[camera]]` of the file.

    Raises:
        ConfigError: a credential cannot be read.
    """
    directory = Path(os.environ.get("CREDENTIALS_DIRECTORY", "") or config.absolute().parent / "credentials")
    if not os.access(directory, os.R_OK | os.X_OK):
        return {}
    mqtt: dict[str, Any] = {}
    if password := _line(file := directory / "mqtt-password", _credential(file)):
        mqtt["password"] = password
    if _credential(key_file := directory / "mqtt-key"):
        mqtt["key_file"] = key_file
    found: dict[int, Any] = {}
    for number, name in _names(cameras).items():
        if password := _line(file := directory / f"camera-{name}-password", _credential(file)):
            found[number] = {"password": password}
    _warn_of_others(directory, set(_names(cameras).values()))
    return {section: value for section, value in (("mqtt", mqtt), ("camera", found)) if value}


def read_password_file(path: object) -> str:
    """The content of a `password_file`, without its last line break.

    Raises:
        ConfigError: not a file with one password in UTF-8 that this user may read.
    """
    if not isinstance(path, str) or not path:
        raise ConfigError("expected the path of a file that holds the password")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{path} is not a regular file")
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(f"{path} cannot be read by user {os.geteuid()}: {reason}") from exc
    if mode & stat.S_IROTH:
        logger.warning("%s holds a password and everyone may read it; chmod 640 %s", path, path)
    if not (password := _line(path, content)):
        raise ConfigError(f"{path} {_NO_LINE}")
    return password


def _line(path: object, content: bytes) -> str:
    """The password in a file's content, without its line break; empty where there is none."""
    try:
        password = content.decode("utf-8").removeprefix("\ufeff").rstrip("\r\n")  # a byte-order mark of Windows editors
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 at byte {exc.start}") from exc
    if "\n" in password or len(content) > MAX_BYTES:
        raise ConfigError(f"{path} {_NO_LINE}")
    return password


def _names(cameras: object) -> dict[int, str]:
    """Names of cameras that are not validated yet, by their number."""
    listed = enumerate(cameras if isinstance(cameras, list) else [])
    names = {number: camera.get("name") for number, camera in listed if isinstance(camera, Mapping)}
    return {number: name for number, name in names.items() if isinstance(name, str) and "/" not in name}


def _credential(path: Path) -> bytes:
    """Content of a credential; empty where it is missing or holds only line breaks."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise ConfigError(f"{path}: the credential cannot be read: {exc.strerror}") from exc
    return content if content.strip(b"\r\n") else b""


def _warn_of_others(directory: Path, cameras: set[str]) -> None:
    """Warn of credentials whose name is no camera's: a camera would silently have no password."""
    for path in sorted(directory.glob("camera-*-password")):
        match = _OF_CAMERA.fullmatch(path.name)
        if match and match[1] not in cameras and _credential(path):
            logger.warning("credential %s: there is no [[camera]] of that name", path.name)
