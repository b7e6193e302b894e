"""Messages for problems in edged.toml, one line each: `file:line: [section] key: problem; remedy`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic_core import ErrorDetails

from edged.config.camera import Camera
from edged.config.environment import Overrides
from edged.config.hints import hint
from edged.config.lines import Key, line_of
from edged.config.schema import Settings
from edged.config.section import is_section
from edged.config.watching import Filter, Line, Mask, Zone
from edged.core.redact import redact

_MOST_SHOWN = 100  # letters of a value
_WORDS = {  # in place of pydantic's messages about Python types
    "string_type": "expected text in quotes",
    "path_type": "expected a path in quotes",
    "tuple_type": 'expected a list, as ["person", "car"]',
    "dict_type": "expected a table",
}
_AREAS: dict[str, type[BaseModel]] = {"zone": Zone, "line": Line, "mask": Mask}
_TABLES = tuple(name for name in Settings.model_fields if name != "camera")


def shape_problems(raw: Mapping[str, Any], *, path: Path, lines: dict[Key, int]) -> Iterator[str]:
    """Problems of structure: sections with the wrong number of brackets, and keys in place of sections."""
    cameras = raw.get("camera", [])
    if isinstance(cameras, Mapping):
        named = next((name for name, table in cameras.items() if isinstance(table, Mapping)), "")
        where = line_of(lines, ("camera", named) if named else ("camera",))
        how = f'[[camera]] and below it name = "{named}"' if named else "[[camera]], in two brackets"
        yield f"{path}:{where}: [camera{'.' * bool(named)}{named}]: write {how}; once for each camera"
    elif not (isinstance(cameras, list) and all(isinstance(camera, Mapping) for camera in cameras)):
        yield f"{path}:{line_of(lines, ('camera',))}: camera: write [[camera]], and its name and source below it"
    for name in _TABLES:
        table = raw.get(name, {})
        if isinstance(table, list):
            where = line_of(lines, (name, 0) if (name, 0) in lines else (name,))
            yield f"{path}:{where}: [[{name}]]: write [{name}], in one bracket; there is one of it"
        elif not isinstance(table, Mapping):
            yield f"{path}:{line_of(lines, (name,))}: {name}: write [{name}], and its keys below it"


def describe(error: ErrorDetails, *, path: Path, lines: dict[Key, int], overrides: Overrides) -> str:
    """One line for one problem; values are quoted unless they may be secret."""
    key = _place(error["loc"])
    where = f"{path}:{line_of(lines, key)}"
    if variable := overrides.name_of(key):
        where = f"environment {variable}"
    name = shown(key)
    if error["type"] == "extra_forbidden":
        section = str(key[0]) if len(key) > 1 else ""
        section = str(key[2]) if section == "camera" and len(key) > 4 else section  # noqa: PLR2004
        return f"{where}: {name}: unknown key; {hint(section, str(key[-1]), _keys_at(key[:-1]))}"
    if error["type"] == "missing":
        return f"{where}: {name}: missing; it has no default"
    secret = "password" in str(key[-1]) or key[-1] in {"source", "host", "path"}
    return f"{where}: {name}: {in_words(error, secret=secret)}"


def in_words(error: ErrorDetails, *, secret: bool) -> str:
    """What is wrong with a value, and the value unless it is `secret`."""
    problem = redact(_WORDS.get(error["type"], error["msg"]).removeprefix("Value error, "))
    value = error.get("input")
    hidden = secret or isinstance(value, (Mapping, SecretStr)) or str(value) in problem
    return f"{problem[0].lower()}{problem[1:]}{'' if hidden else f', got {_as_written(value)}'}"


def _as_written(value: object) -> str:
    """A value as in TOML, without secrets, cut to `_MOST_SHOWN` letters."""
    if isinstance(value, bool):
        return str(value).lower()
    text = redact(value.isoformat() if isinstance(value, (date, time)) else repr(value))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def shown(key: Key) -> str:
    """`("camera", 0, "fps")` -> `[[camera]] number 1 fps`."""
    *table, last = key
    if len(key) > 1 and isinstance(key[1], int):
        inner = [f"number {part + 1}" if isinstance(part, int) else str(part) for part in key[2:]]
        return " ".join([f"[[{key[0]}]]", f"number {key[1] + 1}", *inner])
    return " ".join([f"[{'.'.join(map(str, table))}]", str(last)]) if table else f"[{last}]"


def _place(loc: tuple[int | str, ...]) -> Key:
    """The key in the file: pydantic's location may also name the branch of a union or the element of a list."""
    if loc[:1] == ("camera",):
        return loc[: 5 if loc[2:3] and loc[2] in _AREAS and loc[3:4] and isinstance(loc[3], int) else 3]
    return loc[: 3 if loc[:1] == ("filter",) else 2]


def _keys_at(table: Key) -> list[str]:
    """The keys that the schema allows in `table`."""
    if not table:
        return list(Settings.model_fields)
    if table[0] == "camera":
        return list((_AREAS[str(table[2])] if len(table) > 2 else Camera).model_fields)  # noqa: PLR2004
    if table[0] == "filter":
        return list(Filter.model_fields)
    annotation = Settings.model_fields[str(table[0])].annotation
    models = [kind for kind in (annotation, *get_args(annotation)) if is_section(kind)]
    return list(models[0].model_fields) if models else []
