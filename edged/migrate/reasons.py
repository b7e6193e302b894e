"""Why edged's own schema refuses a value, in a few words for a comment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


def reason_of(exc: ValidationError) -> str:
    """The first problem, without the value: it may be secret."""
    name, reason = next(iter(_reasons(exc).items()))
    return f"{name}: {reason}" if name not in {"", "name", "points", "source"} else reason


def accepted(model: type[BaseModel], table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of a section that edged accepts, and for each other one the reason.

    Args:
        model: of the section.
        table: its settings.
    """
    kept, refused = dict(table), dict[str, str]()
    while kept:
        try:
            model.model_validate(kept)
        except ValidationError as exc:
            reasons = _reasons(exc)
            blamed = {name: reason for name, reason in reasons.items() if name in kept}
            refused |= blamed or dict.fromkeys(kept, next(iter(reasons.values())))  # else they are wrong together
            kept = {name: value for name, value in kept.items() if name not in refused}
        else:
            break
    return kept, refused


def _reasons(exc: ValidationError) -> dict[str, str]:
    """The first problem of each key; an empty key where the whole section is wrong."""
    found: dict[str, str] = {}
    for error in exc.errors(include_url=False, include_input=False):
        problem = str(error["msg"]).removeprefix("Value error, ")
        found.setdefault(str(error["loc"][0]) if error["loc"] else "", f"{problem[0].lower()}{problem[1:]}")
    return found
