"""Writes TOML: values, comments, and settings that a comment switches off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key(name: str) -> str:
    """`name` as a key, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else literal(name)


def literal(value: object) -> str:
    """A value of TOML.

    Args:
        value: bool, int, float, str, or a sequence of such. Text holds no surrogates.
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which JSON allows, TOML does not
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Iterable):
        return "[" + ", ".join(literal(each) for each in value) + "]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def setting(name: str, value: object) -> str:
    """The line `name = value`."""
    return f"{key(name)} = {literal(value)}"


def settings(table: Mapping[str, object]) -> list[str]:
    """A line for each setting."""
    return [setting(name, value) for name, value in table.items()]


def remark(text: str) -> str:
    """A comment of one line, whatever `text` holds."""
    return "# " + "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def switched_off(lines: Iterable[str]) -> list[str]:
    """The lines as comments; taking one `# ` away from each gives them back."""
    return [f"# {line}" if line else "#" for line in lines]
