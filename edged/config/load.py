"""Reads edged.toml, environment and credentials, and reports every problem with file and line."""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable, Mapping
from os import geteuid
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edged.config.credentials import read_credentials, read_password_file
from edged.config.environment import read_environment
from edged.config.fitting import misplaced
from edged.config.lines import Key, line_of
from edged.config.problems import describe, shape_problems, shown
from edged.config.schema import Settings
from edged.config.toml import Document, read_toml
from edged.core.addresses import remember_address
from edged.core.errors import ConfigError
from edged.core.paths import CONFIG
from edged.core.redact import holds_secret, remember_source
from edged.core.secrets import remember

_SECRET_KEYS = ("pass", "pwd", "secret", "token")  # misspelt ones, too

logger = logging.getLogger(__name__)


def load_settings(path: Path = CONFIG) -> Settings:
    """Settings from a file, overridden by `EDGED_SECTION__KEY`, secrets also from files and `$CREDENTIALS_DIRECTORY`.

    From now on `redact` knows every secret in them. Cameras that are not enabled are checked and left out.

    Args:
        path: edged.toml.

    Raises:
        ConfigError: one line per problem, `file:line: key: problem; remedy`.
    """
    document = _read(path)
    raw, lines = document.table, document.lines
    _remember(raw)
    if problems := list(shape_problems(raw, path=path, lines=lines)):
        raise ConfigError("\n".join(problems))
    overrides = read_environment(raw.get("camera"))
    _remember(overrides.values)

    def where(key: Key) -> str:
        return f"environment {overrides.name_of(key)}" if overrides.name_of(key) else f"{path}:{line_of(lines, key)}"

    given = _with_password_files(raw, where=lambda key: f"{path}:{line_of(lines, key)}")
    said = _with_password_files(overrides.values, where=where)
    merged = _merge(_merge(given, read_credentials(path, raw.get("camera"))), said)
    _remember(merged)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as exc:
        problems = [describe(error, path=path, lines=lines, overrides=overrides) for error in exc.errors()]
        raise ConfigError("\n".join(problems)) from None  # pydantic's own text quotes values, secrets included
    _require_cameras(settings, path=path, lines=lines)
    _require_fitting_keys(settings, where=where)
    _require_unlike_areas(settings, path=path, lines=lines)
    _require_unlike_prefixes(settings, path=path, lines=lines)
    _require_topics_for_others(settings, path=path, lines=lines)
    _warn_of_exposed_secrets(settings, path=path, raw=raw, lines=lines)
    return settings.model_copy(update={"camera": tuple(camera for camera in settings.camera if camera.enabled)})


def _read(path: Path) -> Document:
    try:
        return read_toml(path)
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path}: not found",
            remedy="copy the commented example etc/edged.toml there, or name another with --config",
        ) from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read by user {geteuid()}: {exc.strerror}") from exc


def _remember(tree: object, key: str = "") -> None:
    """Remember all secrets in settings that are not validated yet."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            _remember(value, str(name).lower())
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            _remember(value, key)
    elif isinstance(tree, str):
        remember_source(tree)
        if key == "source":
            remember_address(tree)
        if any(word in key for word in _SECRET_KEYS) and not key.endswith("_file"):
            remember([tree])


def _with_password_files(tree: Mapping[str, Any], *, where: Callable[[Key], str]) -> dict[str, Any]:
    """The settings with passwords read from the files that `password_file` names.

    Raises:
        ConfigError: a file cannot be read, or a password is given as well.
    """
    filled = dict(tree)
    if isinstance(mqtt := tree.get("mqtt"), Mapping):
        filled["mqtt"] = _with_password(mqtt, ("mqtt",), where)
    cameras = tree.get("camera")
    if isinstance(cameras, Mapping):  # from the environment, by number
        filled["camera"] = {
            number: _with_password(camera, ("camera", number), where) for number, camera in cameras.items()
        }
    elif isinstance(cameras, list):
        filled["camera"] = [_with_password(camera, ("camera", number), where) for number, camera in enumerate(cameras)]
    return filled


def _with_password(table: Mapping[str, Any], place: Key, where: Callable[[Key], str]) -> Mapping[str, Any]:
    if not isinstance(table, Mapping) or "password_file" not in table:
        return table
    key = (*place, "password_file")
    if "password" in table:
        raise ConfigError(f"{where(key)}: {shown(key)}: password is given, too; remove one of them")
    try:
        return {**table, "password": read_password_file(table["password_file"])}
    except ConfigError as exc:
        raise ConfigError(f"{where(key)}: {shown(key)}: {exc}") from exc


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, merged table by table; elements of a list are changed by their number."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, list) and isinstance(value, dict):
            merged[key] = [_merge(element, value.get(number, {})) for number, element in enumerate(below)]
        else:
            merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _require_cameras(settings: Settings, *, path: Path, lines: dict[Key, int]) -> None:
    if not settings.camera:
        raise ConfigError(f"{path}: no [[camera]], nothing to do", remedy="add one with a name and a source")
    if not any(camera.enabled for camera in settings.camera):
        here = line_of(lines, ("camera", 0, "enabled"))
        raise ConfigError(f"{path}:{here}: [[camera]] enabled: no camera is enabled, nothing to do")
    first_of: dict[str, int] = {}
    for index, camera in enumerate(settings.camera):
        first = first_of.setdefault(camera.name, index)
        if first != index:
            here, there = (line_of(lines, ("camera", i, "name")) for i in (index, first))
            raise ConfigError(f"{path}:{here}: [[camera]] name: {camera.name!r} is taken by the camera at line {there}")


def _require_fitting_keys(settings: Settings, *, where: Callable[[Key], str]) -> None:
    """Raise ConfigError where a camera has keys that its kind of source does not heed, one line each."""
    problems = [
        f"{where(place)}: {shown(place)}: {problem}"
        for number, camera in enumerate(settings.camera)
        for key, problem in misplaced(camera)
        for place in [("camera", number, key)]
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _require_unlike_areas(settings: Settings, *, path: Path, lines: dict[Key, int]) -> None:
    """Raise ConfigError where two zones, or two lines, of a camera have one name."""
    for number, camera in enumerate(settings.camera):
        for kind in ("zone", "line"):
            first_of: dict[str, int] = {}
            for index, area in enumerate(getattr(camera, kind)):
                first = first_of.setdefault(area.name, index)
                if first != index:
                    here, there = (line_of(lines, ("camera", number, kind, i, "name")) for i in (index, first))
                    problem = f"{area.name!r} is taken by the {kind} at line {there}"
                    raise ConfigError(f"{path}:{here}: [[camera.{kind}]] name: {problem}")


def _require_unlike_prefixes(settings: Settings, *, path: Path, lines: dict[Key, int]) -> None:
    """Raise ConfigError where Frigate's topics would be among edged's own."""
    prefix, own = settings.publish.frigate_prefix, settings.mqtt.prefix
    if prefix == own or prefix.startswith(f"{own}/"):
        here = line_of(lines, ("publish", "frigate_prefix"))
        problem = f'edged\'s own topics begin with "{own}/"; name another, as "frigate"'
        raise ConfigError(f"{path}:{here}: [publish] frigate_prefix: {problem}")


def _require_topics_for_others(settings: Settings, *, path: Path, lines: dict[Key, int]) -> None:
    """Raise ConfigError where Home Assistant's or Frigate's topics are wanted of a broker that does not take them."""
    mqtt, publish = settings.mqtt, settings.publish
    reason = "[mqtt] topic is set, so that no other topics are used" if mqtt.topic else "[mqtt] retain is false"
    if not mqtt.topic and mqtt.retain:
        return
    for key, whose in (("home_assistant", "Home Assistant's"), ("frigate_prefix", "Frigate's")):
        if getattr(publish, key):
            here = line_of(lines, ("publish", key))
            problem = f"{whose} topics are apart from others, and retained, but {reason}; remove one of them"
            raise ConfigError(f"{path}:{here}: [publish] {key}: {problem}")


def _warn_of_exposed_secrets(settings: Settings, *, path: Path, raw: Mapping[str, Any], lines: dict[Key, int]) -> None:
    in_url = [("camera", i, "source") for i, camera in enumerate(settings.camera) if holds_secret(camera.source)]
    for key in in_url:
        logger.warning(
            "%s:%d: %s: a password in the source; give it by the keys username and password",
            path, line_of(lines, key), shown(key),
        )  # fmt: skip
    apart = [("camera", i, "password") for i, camera in enumerate(raw.get("camera", [])) if camera.get("password")]
    exposed: list[Key] = [*in_url, *apart]
    if raw.get("mqtt", {}).get("password"):
        exposed.append(("mqtt", "password"))
    if exposed and path.stat().st_mode & stat.S_IROTH:
        line = line_of(lines, exposed[0])
        logger.warning("%s:%d holds a password and everyone may read the file; chmod 640 %s", path, line, path)
