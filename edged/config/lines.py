"""Finds the line of each key in a TOML file, for messages: the parser does not keep them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

Key = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def key_lines(text: str) -> dict[Key, int]:
    """Line numbers, from 1, of every table and key: `("camera", 0, "fps") -> 12`.

    Keys inside inline tables and multi-line values are not listed; `line_of` gives the line of what holds them.
    """
    lines: dict[Key, int] = {}
    arrays: Counter[Key] = Counter()
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _placed(_parts(header[2]), arrays)
            if header[1] == "[[":
                arrays[table] += 1
                table = (*table, arrays[table] - 1)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


def _placed(parts: Key, arrays: Mapping[Key, int]) -> Key:
    """The key of a header below arrays of tables: `[[camera.zone]]` belongs to the latest `[[camera]]`."""
    *above, last = parts
    table: Key = ()
    for part in above:
        table = (*table, part)
        if arrays[table]:
            table = (*table, arrays[table] - 1)
    return (*table, last)


def line_of(lines: dict[Key, int], key: Key) -> int:
    """The line of `key`, or of the nearest table that holds it; 1 if there is none."""
    while key:
        if key in lines:
            return lines[key]
        key = key[:-1]
    return 1


def _parts(dotted: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
