"""Settings from environment variables: `EDGED_SECTION__KEY`, `EDGED_CAMERA__NAME__KEY`; others are reported."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from edged.config.camera import Camera
from edged.config.lines import Key
from edged.config.schema import Settings
from edged.config.section import is_section
from edged.core.errors import ConfigError

PREFIX = "EDGED_"
DELIMITER = "__"
_CAMERA = f"{PREFIX}CAMERA{DELIMITER}"
_LINK = re.compile(r"(tcp|udp)://[0-9.]+:\d+")  # set by Kubernetes and Docker for a service called edged-mqtt


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings from the environment.

    Attributes:
        values: by section and key; of cameras by their number.
        names: the variable that set each value, by its key.
    """

    values: Mapping[str, Any]
    names: Mapping[Key, str]

    def name_of(self, key: Key) -> str:
        """The variable that set `key` or a table that holds it; empty if none did."""
        return next((self.names[key[:length]] for length in range(len(key), 0, -1) if key[:length] in self.names), "")


def read_environment(cameras: object) -> Overrides:
    """Settings from the environment, which override the file.

    Args:
        cameras: `[[camera]]` of the file; variables may use their names.

    Raises:
        ConfigError: a variable that looks like a setting but is none.
    """
    ours = {name: value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}
    if problems := [problem for name, value in ours.items() for problem in _not_read(name, value)]:
        raise ConfigError("\n".join(problems))
    values, names = _sections(), _names(ours)
    for name, value in ours.items():
        if name.upper().startswith(_CAMERA):
            number, key = _camera(name, cameras)
            values.setdefault("camera", {}).setdefault(number, {})[key] = _typed(Camera, key, value)
            names["camera", number, key] = name
    return Overrides(values, names)


class _Environment(Settings, BaseSettings):  # type: ignore[misc]  # both declare model_config
    """Tells pydantic-settings which variables there are; never instantiated."""


class _Variables(EnvSettingsSource):
    """Reads environment variables; sections are JSON, lists are JSON or separated by commas."""

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: str) -> Any:  # noqa: ANN401 - as given
        """Accept a list of names as `person,car`; the schema checks the names."""
        if field is not None and field.annotation == tuple[str, ...] and not value.lstrip().startswith("["):
            return [name.strip() for name in value.split(",")] if value.strip() else []
        return super().decode_complex_value(field_name, field, value)  # type: ignore[arg-type]  # None for a free table


def _sections() -> dict[str, Any]:
    """`EDGED_MQTT__PORT=1884` -> `{"mqtt": {"port": "1884"}}`."""
    source = _Variables(_Environment, env_prefix=PREFIX, env_nested_delimiter=DELIMITER)
    source.env_vars = {name: value for name, value in source.env_vars.items() if not name.upper().startswith(_CAMERA)}
    try:
        found: dict[str, Any] = source()
    except (SettingsError, RecursionError) as exc:
        remedy = f"or set single keys, as {PREFIX}MQTT__PORT=1884"
        raise ConfigError(f"environment {_no_json()}: expected JSON", remedy=remedy) from exc
    for section, table in found.items():
        model = Settings.model_fields[section].annotation
        if isinstance(table, dict) and is_section(model):
            found[section] = {key: _typed(model, key, value) for key, value in table.items()}
    return found


def _no_json() -> str:
    """The variables that should hold JSON, by their name or first letter, but do not."""
    wrong = []
    for name, value in os.environ.items():
        of_section = name.upper().removeprefix(PREFIX).lower() in Settings.model_fields
        if name.upper().startswith(PREFIX) and (of_section or value.lstrip()[:1] in {"[", "{"}):
            try:
                json.loads(value)
            except (ValueError, RecursionError):
                wrong.append(name)
    return ", ".join(sorted(wrong))


def _typed(model: type[BaseModel], key: str, value: object) -> object:
    """Convert text where the schema accepts no text: a choice of numbers, an empty list of names."""
    field = model.model_fields.get(key)
    if field is None or not isinstance(value, str):
        return value
    if field.annotation == tuple[str, ...]:
        return value if value.strip() else ()
    listed = get_origin(field.annotation) is Literal and isinstance(get_args(field.annotation)[0], int)
    return int(value) if listed and re.fullmatch(r"\s*\d{1,9}\s*", value) else value


def _names(ours: Mapping[str, str]) -> dict[Key, str]:
    return {tuple(name[len(PREFIX) :].lower().split(DELIMITER)): name for name in ours}


def _camera(name: str, cameras: object) -> tuple[int, str]:
    """Number, from 0, and key of a variable such as `EDGED_CAMERA__GATE__PASSWORD` or `EDGED_CAMERA__0__PASSWORD`."""
    who, _, key = name[len(_CAMERA) :].lower().rpartition(DELIMITER)
    known = (
        [str(camera.get("name", "")) for camera in cameras if isinstance(camera, Mapping)]
        if isinstance(cameras, list)
        else []
    )
    # Names of shell variables have no hyphen.
    meant = [number for number, camera in enumerate(known) if camera.replace("-", "_") == who.replace("-", "_")]
    if len(meant) > 1:
        raise ConfigError(f"environment {name}: several cameras are called so; say which by number, from 0")
    if not meant and who.isdecimal() and int(who) < len(known):
        meant = [int(who)]
    if not meant or not key:
        there = f"; there are: {', '.join(known)}" if known else ""
        raise ConfigError(
            f"environment {name}: no such camera in the file{there}",
            remedy=f"write {_CAMERA}NAME{DELIMITER}KEY, NAME or number (from 0) of a [[camera]]",
        )
    return meant[0], key


def _not_read(name: str, value: str) -> Iterator[str]:
    """What is wrong with a variable that looks like a setting but is not read."""
    if any("\ud800" <= letter <= "\udfff" for letter in name + value):  # surrogates: bytes that are not UTF-8
        yield f"environment {ascii(name)[1:-1]}: not UTF-8"
        return
    rest = name[len(PREFIX) :].lower()
    section, divided, _ = rest.partition(DELIMITER)
    sections = list(Settings.model_fields)
    if divided and section not in sections:
        near = difflib.get_close_matches(section, sections, n=1)
        meant = name.upper().replace(section.upper(), near[0].upper(), 1) if near else ""
        hint = f"did you mean {meant}?" if meant else f"sections: {', '.join(sections)}"
        yield f"environment {name}: no such section; {hint}"
    elif not divided and section not in sections and not _LINK.match(value):
        for meant in sorted(set(_meant(rest)))[:1]:
            yield f"environment {name}: not read; two underscores divide section and key: {meant}"


def _meant(rest: str) -> Iterator[str]:
    for section, field in Settings.model_fields.items():
        model = Camera if section == "camera" else field.annotation
        if not is_section(model):
            continue
        for key in model.model_fields:
            if section == "camera" and rest.startswith("camera_") and rest.endswith(f"_{key}"):
                who = rest.removesuffix(f"_{key}").removeprefix("camera").removeprefix("_").upper() or "NAME"
                yield f"{_CAMERA}{who}{DELIMITER}{key.upper()}"
            elif section != "camera" and rest in {f"{section}_{key}", key}:
                yield f"{PREFIX}{section}{DELIMITER}{key}".upper()
