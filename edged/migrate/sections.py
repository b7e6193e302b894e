"""Keys of a file with the types that are expected of them; each error names file, line and key."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from edged.core.errors import DataError
from edged.migrate.nodes import Node

_MOST_SHOWN = 40
_FLAGS = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}


class LeftOut(Exception):
    """Something that edged cannot take over; its message, the reason, becomes a comment. It quotes no secrets."""


class Section:
    """The keys below one key. A missing or empty one is like one without keys.

    Args:
        node: what stands there.

    Raises:
        DataError: from this and every method: a value of another type.
    """

    def __init__(self, node: Node | None = None) -> None:
        self._nodes: Mapping[str, Node] = {}
        if node is not None and node.value is not None:
            if not isinstance(node.value, dict):
                raise wrong(node, "keys below it")
            self._nodes = node.value

    def __iter__(self) -> Iterator[str]:
        """The names of all keys, in the order of the file."""
        return iter(self._nodes)

    def node(self, key: str) -> Node | None:
        """What stands at `key`; None where it is missing or empty."""
        found = self._nodes.get(key)
        return None if found is None or found.value is None else found

    def section(self, *keys: str) -> Section:
        """The keys below `key`, or below a key of a key."""
        first, *more = keys
        found = Section(self.node(first))
        return found.section(*more) if more else found

    def sections(self, key: str) -> dict[str, Section]:
        """The sections below `key`, by their names."""
        below = self.section(key)
        return {name: below.section(name) for name in below}

    def listed(self, key: str) -> tuple[Section, ...]:
        """The sections in the list at `key`."""
        node = self.node(key)
        if node is None:
            return ()
        if not isinstance(node.value, tuple):
            raise wrong(node, "a list")
        return tuple(Section(each) for each in node.value)

    def text(self, key: str) -> str:
        """A text, or a number as it is written; empty where there is none. Errors do not quote it: it may be secret."""
        node = self.node(key)
        if node is None:
            return ""
        if isinstance(node.value, (dict, tuple)):
            raise wrong(node, "text", remedy='write it between quotes: "{FRIGATE_NAME}"')
        return node.text

    def number(self, key: str, *, least: float = -math.inf, most: float = math.inf) -> float | None:
        """A finite number from `least` to `most`, also between quotes; None where there is none."""
        node = self.node(key)
        if node is None:
            return None
        value = number_of(node)
        if value is None or not least <= value <= most:
            raise wrong(node, "a number" if least == -math.inf else f"a number from {least:g} to {most:g}")
        return value

    def flag(self, key: str) -> bool | None:
        """True or false, also as `yes`, `off` and the like; None where there is none."""
        node = self.node(key)
        if node is None:
            return None
        value = _FLAGS.get(node.text.strip().lower())
        if value is None or isinstance(node.value, (dict, tuple)):
            raise wrong(node, "true or false")
        return value

    def words(self, key: str) -> tuple[str, ...] | None:
        """A list of names, or one; names in one text may be divided by commas. None where there is none."""
        node = self.node(key)
        if node is None:
            return None
        if not isinstance(node.value, tuple):
            given = self.text(key).split(",")
        elif any(isinstance(each.value, (dict, tuple)) for each in node.value):
            raise wrong(node, "a list of names")
        else:
            given = [each.text for each in node.value]
        return tuple(dict.fromkeys(word.strip() for word in given if word.strip()))

    def over(self, general: Section) -> Section:
        """These keys, and those of `general` that are missing here: key by key, a list as a whole, as Frigate does."""
        merged = Section()
        merged._nodes = _over(self._nodes, general._nodes)
        return merged


def number_of(node: Node) -> float | None:
    """The finite number at `node`, also between quotes; None where it is none."""
    if isinstance(node.value, (bool, dict, tuple)) or node.value is None:
        return None
    try:
        value = float(node.value) if isinstance(node.value, (int, float)) else float(node.text)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def wrong(node: Node, expected: str, *, remedy: str = "correct it, or remove the line") -> DataError:
    """The error for a value of another type than `expected`."""
    return DataError(f"{node.place}: expected {expected}, got {_shown(node)}", remedy=remedy)


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "keys below it"
    if isinstance(node.value, tuple):
        return "a list"
    if "://" in node.text:
        return "an address"  # which may hold a password
    return repr(node.text) if len(node.text) <= _MOST_SHOWN else f"a text of {len(node.text)} letters"


def _over(own: Mapping[str, Node], general: Mapping[str, Node]) -> dict[str, Node]:
    merged = dict(general)
    for key, node in own.items():
        below = merged.get(key)
        if isinstance(node.value, dict) and below is not None and isinstance(below.value, dict):
            merged[key] = Node(_over(node.value, below.value), node.place)
        elif below is None or node.value is not None:
            merged[key] = node
    return merged
