"""TOML files that people write: a table, or one sentence about what is wrong."""

from __future__ import annotations

import sys
from typing import Any

from edged.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_DEPTH = 20
_TOO_DEEP = "tables or lists in each other, deeper than any setting"


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
