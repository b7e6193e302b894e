"""Reads edged.toml, environment and credentials, and says precisely what is wrong with them."""

from __future__ import annotations

import difflib
import logging
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from edged.config.lines import Key, key_lines, line_of
from edged.config.schema import Settings
from edged.core.errors import ConfigError
from edged.core.paths import CONFIG
from edged.core.text import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1 << 20
ENV_PREFIX = "EDGED_"
_DELIMITER = "__"

logger = logging.getLogger(__name__)


def load_settings(path: Path = CONFIG) -> Settings:
    """Settings from a file, overridden by `EDGED_SECTION__KEY`, secrets from `$CREDENTIALS_DIRECTORY`.

    Args:
        path: edged.toml.

    Raises:
        ConfigError: one line a problem, `file:line: key: problem; remedy`.
    """
    text = _read(path)
    raw = _parse(path, text)
    lines = key_lines(text)
    overrides = _environment()
    merged = _merge(_merge(raw, _credentials()), overrides)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as exc:
        problems = [_describe(error, path=path, lines=lines, overrides=overrides) for error in exc.errors()]
        raise ConfigError("\n".join(problems)) from None  # pydantic's own text quotes values, secrets included
    _require_cameras(settings, path=path, lines=lines)
    _warn_of_exposed_secrets(settings, path=path, raw=raw, lines=lines)
    return settings


def _read(path: Path) -> str:
    try:
        return read_text(path, limit=MAX_BYTES, error=ConfigError)
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path}: not found",
            remedy="copy the commented example etc/edged.toml there, or name another with --config",
        ) from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read by user {os.geteuid()}: {exc.strerror}") from exc


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc
    return parsed


class _Environment(Settings, BaseSettings):  # type: ignore[misc]  # both declare model_config
    """Never instantiated: tells pydantic-settings which variables there are."""


class _Variables(EnvSettingsSource):
    """Environment variables; lists and sections are written in JSON."""

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: str) -> Any:  # noqa: ANN401 - as given
        """A list of names may be given as the one name that it holds; the schema says whether that is allowed."""
        if field is not None and field.annotation == tuple[str, ...] and not value.lstrip().startswith("["):
            return value
        return super().decode_complex_value(field_name, field, value)  # type: ignore[arg-type]  # None for a free table


def _environment() -> dict[str, Any]:
    """`EDGED_MQTT__PORT=1884` -> `{"mqtt": {"port": "1884"}}`."""
    source = _Variables(_Environment, env_prefix=ENV_PREFIX, env_nested_delimiter=_DELIMITER)
    try:
        return source()
    except SettingsError as exc:
        raise ConfigError(f"environment: {exc}", remedy=f"set single keys, as {ENV_PREFIX}MQTT__PORT=1884") from exc


def _credentials() -> dict[str, Any]:
    """What systemd's `LoadCredential=` gives: `mqtt-password`, and `mqtt-key` as the key of `cert_file`.

    An empty one is the unit's way to say that there is none.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        return {}
    found: dict[str, Any] = {}
    if password := _credential(Path(directory) / "mqtt-password"):
        found["password"] = password
    if _credential(key_file := Path(directory) / "mqtt-key"):
        found["key_file"] = key_file
    return {"mqtt": found} if found else {}


def _credential(path: Path) -> str:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: the credential cannot be read: {type(exc).__name__}") from exc


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _describe(error: ErrorDetails, *, path: Path, lines: dict[Key, int], overrides: Mapping[str, Any]) -> str:
    """One line for one problem; values are quoted except where they may be secret."""
    key = tuple(part for part in error["loc"] if not str(part).startswith(("constrained", "function", "literal")))
    name = _shown(key)
    where = f"{path}:{line_of(lines, key)}"
    if _contains(overrides, key):
        where = "environment " + ENV_PREFIX + _DELIMITER.join(str(part).upper() for part in key)
    if error["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(str(key[-1]), _keys_at(key[:-1]), n=1)
        hint = f'did you mean "{nearest[0]}"?' if nearest else f"allowed here: {', '.join(_keys_at(key[:-1]))}"
        return f"{where}: {name}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{where}: {name}: missing; it has no default"
    problem = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    secret = "password" in str(key[-1]) or isinstance(value, (dict, SecretStr)) or key[-1] in {"source", "host"}
    got = "" if secret or str(value) in problem else f", got {value!r}"
    return f"{where}: {name}: {problem[0].lower()}{problem[1:]}{got}"


def _shown(key: Key) -> str:
    """`("camera", 0, "fps")` -> `[[camera]] 1 fps`."""
    *table, last = key
    if len(key) > 1 and isinstance(key[1], int):
        return " ".join([f"[[{key[0]}]]", f"number {key[1] + 1}", *(str(part) for part in key[2:])])
    return " ".join([f"[{'.'.join(map(str, table))}]", str(last)]) if table else f"[{last}]"


def _contains(tree: Mapping[str, Any], key: Key) -> bool:
    node: Any = tree
    for part in key:
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return bool(key)


def _keys_at(table: Key) -> list[str]:
    """The keys that the schema allows in `table`."""
    model: type[BaseModel] = Settings
    for part in table:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        nested = [arg for arg in (annotation, *get_args(annotation)) if isinstance(arg, type) and not get_args(arg)]
        model = next((arg for arg in nested if issubclass(arg, BaseModel)), model)
    return list(model.model_fields)


def _require_cameras(settings: Settings, *, path: Path, lines: dict[Key, int]) -> None:
    if not settings.camera:
        raise ConfigError(f"{path}: no [[camera]], nothing to do", remedy="add one with a name and a source")
    first_of: dict[str, int] = {}
    for index, camera in enumerate(settings.camera):
        first = first_of.setdefault(camera.name, index)
        if first != index:
            here, there = (line_of(lines, ("camera", i, "name")) for i in (index, first))
            raise ConfigError(f"{path}:{here}: [[camera]] name: {camera.name!r} is taken by the camera at line {there}")


def _warn_of_exposed_secrets(settings: Settings, *, path: Path, raw: Mapping[str, Any], lines: dict[Key, int]) -> None:
    in_url = [("camera", i, "source") for i, camera in enumerate(settings.camera) if _has_userinfo(camera.source)]
    for key in in_url:
        logger.warning(
            "%s:%d: %s: a password in the URL; give it by the keys username and password",
            path, line_of(lines, key), _shown(key),
        )  # fmt: skip
    apart = [
        ("camera", i, "password") for i, camera in enumerate(settings.camera) if camera.password.get_secret_value()
    ]
    exposed: list[Key] = [*in_url, *apart]
    if raw.get("mqtt", {}).get("password"):
        exposed.append(("mqtt", "password"))
    if exposed and path.stat().st_mode & stat.S_IROTH:
        line = line_of(lines, exposed[0])
        logger.warning("%s:%d holds a password and everyone may read the file; chmod 640 %s", path, line, path)


def _has_userinfo(source: str) -> bool:
    return "@" in source.partition("://")[2].partition("/")[0]
