"""Reads TOML files: values and their lines, or one error message."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.config.lines import Key, key_lines
from edged.core.errors import ConfigError
from edged.core.text import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
_TOO_DEEP = "tables or lists in each other, deeper than any setting"


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a file.

    Attributes:
        table: its values.
        lines: line number of each table and key, from 1.
    """

    table: dict[str, Any]
    lines: dict[Key, int]


def read_toml(path: Path) -> Document:
    """Read a file of at most `MAX_BYTES`.

    Raises:
        ConfigError: too large, not UTF-8, UTF-16 or UTF-32, not TOML, nested too deep.
        OSError: it cannot be read.
    """
    text = read_text(path, limit=MAX_BYTES, error=ConfigError)
    return Document(parse_toml(text, name=path), key_lines(text))


def parse_toml(text: str, *, name: object) -> dict[str, Any]:
    """Parse a TOML text.

    Args:
        text: content of the file.
        name: of the file, for messages.

    Raises:
        ConfigError: not TOML, or nested deeper than `MAX_DEPTH`, which might exceed Python's recursion limit later.
    """
    try:
        parsed: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{name}: not valid TOML: {exc}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{name}: {_TOO_DEEP}") from exc
    except ValueError as exc:  # Python refuses integers of thousands of digits
        raise ConfigError(f"{name}: not valid TOML: a number has too many digits") from exc
    if depth_of(parsed) > MAX_DEPTH:
        raise ConfigError(f"{name}: {_TOO_DEEP}")
    return parsed


def depth_of(tree: object) -> int:
    """Depth of nested tables and lists, at most one more than `MAX_DEPTH`."""
    level, depth = [tree], 0
    while depth <= MAX_DEPTH:
        below = [node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list))]
        if not below:
            break
        level, depth = [node for nodes in below for node in nodes], depth + 1
    return depth
