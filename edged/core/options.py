"""Checks options of a stage: frozen dataclasses whose annotations say type and range, checked when they are made.

The configuration inherits them, so that pydantic reads the same annotations. Camera processes never load pydantic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Interval, MaxLen

_KINDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def require_valid(options: object) -> None:
    """Raise ValueError unless every field has the type and is within the limits of its annotation.

    Checks `bool`, `int`, `float` (finite; a bool is no number), `str`, `Path`, `Literal[...]`, and in `Annotated` each
    `Interval(ge=..., le=...)` and `MaxLen(...)`; other fields are not checked. The message does not quote the value of
    a field with `repr=False`.
    """
    made: Any = type(options)  # lru_cache wants a Hashable; mypy does not accept a class as one
    for name, kind, limits, shown in _declared(made):
        value = getattr(options, name)
        if problem := _problem(kind, limits, value):
            got = f", got {value!r}" if shown else ""
            raise ValueError(f"{name} must {problem}{got}")


def shared(kind: Any, options: object) -> dict[str, Any]:  # noqa: ANN401 - the class of any dataclass
    """The values in `options` of the fields of dataclass `kind`, by name: keywords to make a `kind` with."""
    return {field.name: getattr(options, field.name) for field in fields(kind)}


@lru_cache
def _declared(kind: type) -> tuple[tuple[str, Any, tuple[Any, ...], bool], ...]:
    """Name, type, limits and whether the value may be shown, of each field."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field.name, *_parted(hints[field.name]), field.repr) for field in fields(kind))


def _parted(hint: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401 - any annotation
    metadata = getattr(hint, "__metadata__", ())
    return (get_args(hint)[0] if metadata else hint), metadata


def _problem(kind: Any, limits: tuple[Any, ...], value: Any) -> str:  # noqa: ANN401 - its type is what is checked
    """The rest of a sentence after "must"; empty where the value is valid."""
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        fits = any(type(value) is type(choice) and value == choice for choice in allowed)
        return "" if fits else f"be {_listed(allowed)}"
    if kind in _KINDS and not _is_of(kind, value):
        return f"be {_KINDS[kind]}"
    return next(_beyond(limits, value), "" if kind is not float or math.isfinite(value) else "be finite")


def _is_of(kind: type, value: object) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float)) if kind is float else isinstance(value, kind)


def _beyond(limits: tuple[Any, ...], value: Any) -> Iterator[str]:  # noqa: ANN401 - any type that has limits
    for limit in limits:
        if isinstance(limit, MaxLen) and len(value) > limit.max_length:
            yield f"have at most {limit.max_length} characters"
        if isinstance(limit, Interval) and not (limit.ge <= value <= limit.le):
            yield f"be {limit.ge} to {limit.le}"


def _listed(choices: tuple[Any, ...]) -> str:
    """`a, b or c`; text that looks like a number in quotes."""
    words = [choice if isinstance(choice, str) and choice.isidentifier() else _quoted(choice) for choice in choices]
    return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _quoted(choice: object) -> str:
    return f'"{choice}"' if isinstance(choice, str) else str(choice)
