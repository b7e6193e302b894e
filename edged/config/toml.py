"""TOML files that people write: a table and its lines, or one sentence about what is wrong."""

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
    """What one file holds.

    Attributes:
        table: its values.
        lines: where they stand; see `key_lines`.
    """

    table: dict[str, Any]
    lines: dict[Key, int]


def read_toml(path: Path) -> Document:
    """The whole of a file of at most `MAX_BYTES`.

    Raises:
        ConfigError: too large, not UTF-8 or UTF-16, no TOML, nested too deep.
        OSError: it cannot be read.
    """
    text = read_text(path, limit=MAX_BYTES, error=ConfigError)
    return Document(parse_toml(text, name=path), key_lines(text))


def parse_toml(text: str, *, name: object) -> dict[str, Any]:
    """The table that a TOML text holds.

    Args:
        text: of the file.
        name: of the file, for the message.

    Raises:
        ConfigError: no TOML, or nested deeper than settings are, which would be a RecursionError for whoever walks it.
    """
    try:
        parsed: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{name}: not valid TOML: {exc}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{name}: {_TOO_DEEP}") from exc
    except ValueError as exc:  # Python takes no integer of thousands of digits
        raise ConfigError(f"{name}: not valid TOML: a number has too many digits") from exc
    if depth_of(parsed) > MAX_DEPTH:
        raise ConfigError(f"{name}: {_TOO_DEEP}")
    return parsed


def depth_of(tree: object) -> int:
    """How many tables and lists lie in each other, at most one more than `MAX_DEPTH`."""
    level, depth = [tree], 0
    while depth <= MAX_DEPTH:
        below = [node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list))]
        if not below:
            break
        level, depth = [node for nodes in below for node in nodes], depth + 1
    return depth
