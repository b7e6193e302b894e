"""Reads class names: a list, or a mapping from class id to name."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

MAX_LETTERS = 200
_SHOWN = 12  # at most so many keys are shown in a message, of at most so many letters
_NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}  # control characters, surrogates, line and paragraph separators


def ordered_names(value: object) -> tuple[str, ...]:
    """The names in the order of their class ids, stripped; numbers become text.

    Args:
        value: a list or tuple, or a mapping whose keys are 0 to n-1 as numbers or as text ("10" follows "9").

    Raises:
        ValueError: another type, no names, ids with gaps, or a name that is empty, longer than MAX_LETTERS, holds
            control characters, or is neither text nor a number.
    """
    if isinstance(value, Mapping):
        value = _by_id(value)
    if not isinstance(value, (list, tuple)) or not value:
        found = "an empty list" if isinstance(value, (list, tuple)) else type(value).__name__
        raise ValueError(f"class names must be a list, or a mapping from 0 to the last class, got {found}")
    return tuple(_text(name, index) for index, name in enumerate(value))


def _by_id(names: Mapping[object, object]) -> list[object]:
    by_id = {_number(key): name for key, name in names.items()}
    if len(by_id) != len(names) or set(by_id) != set(range(len(names))):
        keys = ", ".join(str(key)[:_SHOWN] for key in list(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise ValueError(f"class names must be numbered 0 to {len(names) - 1} without gaps, got {keys or 'none'}")
    return [by_id[index] for index in range(len(names))]


def _number(key: object) -> object:
    """The class id that a key means; None for a bool, and any other key as it is."""
    if isinstance(key, str) and key.strip().isdecimal():
        return int(key)
    return None if isinstance(key, bool) else key


def _text(name: object, index: int) -> str:
    if isinstance(name, bool):
        raise ValueError(f"YAML reads the name of class {index} as {name}: put yes, no, on and off in quotes")  # noqa: TRY004
    if not isinstance(name, (str, int, float)):
        raise ValueError(f"the name of class {index} must be text, got {type(name).__name__}")  # noqa: TRY004
    text = str(name).strip()
    if not text:
        raise ValueError(f"the name of class {index} is empty")
    if len(text) > MAX_LETTERS:
        raise ValueError(f"the name of class {index} has {len(text):,} letters, at most {MAX_LETTERS} are allowed")
    if any(unicodedata.category(letter) in _NO_TEXT for letter in text):
        raise ValueError(f"the name of class {index} holds a control character: {text!r}")
    return text
