"""Reads a YAML file into nodes that know their file, line and key; refuses what no configuration holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from edged.core.errors import ConfigError, DataError
from edged.core.text import read_text

MAX_BYTES = 512 << 10
MAX_NODES = 50_000
MAX_DEPTH = 30
_CORE = "tag:yaml.org,2002:"
_MERGE = f"{_CORE}merge"
_QUOTES = "put a text that begins with {} between quotes"
_LISTS, _KEYS = f"{_CORE}seq", f"{_CORE}map"
_TEXTS = {f"{_CORE}{kind}" for kind in ("str", "timestamp", "value", "merge")}  # as written: edged reads no dates


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the file.

    Attributes:
        value: None, bool, int, float, str, a tuple of nodes, or a dict of nodes by key.
        place: `config.yml:12: cameras.gate.detect`, for messages.
        text: of a single value, as it is written; else empty.
    """

    value: object
    place: str
    text: str = ""


def read_yaml(path: Path) -> Node:
    """The keys of a file of at most `MAX_BYTES`; aliases and merge keys are followed.

    Raises:
        ConfigError: the file cannot be read.
        DataError: too large, not text, not YAML, a list or a single value, a tag, a key twice, more than `MAX_NODES`
            values or deeper than `MAX_DEPTH`, as aliases of aliases make them.
    """
    try:
        text = read_text(path, limit=MAX_BYTES, error=DataError)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}", remedy="name Frigate's config.yml") from exc
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as exc:
        raise _no_yaml(path, exc) from exc
    except (yaml.YAMLError, ValueError, OverflowError) as exc:  # a character that no text may hold, e.g. "\Uffffffff"
        raise DataError(f"{path}: not YAML: it holds a character that is not allowed", remedy="remove it") from exc
    except RecursionError as exc:
        raise _too_deep(str(path)) from exc
    if not isinstance(root, yaml.MappingNode):
        found = "nothing" if root is None else "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        raise DataError(
            f"{path}: expected keys such as mqtt: and cameras:, got {found}", remedy="is it Frigate's file?"
        )
    return _Builder(path, loader).node(root)


class _Loader(yaml.SafeLoader):
    """Stops at a file of too many values, which would take minutes."""

    _left = MAX_NODES

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._left -= 1
        if self._left < 0:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES} values", problem_mark=self.get_mark())
        return super().compose_node(parent, index)


class _Builder:
    """Makes nodes, and counts them: an alias is a node for each place that names it."""

    def __init__(self, file: Path, loader: yaml.SafeLoader) -> None:
        self._file, self._loader, self._left = file, loader, MAX_NODES

    def node(self, node: yaml.Node, path: str = "", depth: int = 0) -> Node:
        place = self._enter(node, path, depth)
        if isinstance(node, yaml.MappingNode) and node.tag == _KEYS:
            return Node(self._keys(node, path, depth), place)
        if isinstance(node, yaml.SequenceNode) and node.tag == _LISTS:
            return Node(tuple(self.node(each, f"{path}[{n}]", depth + 1) for n, each in enumerate(node.value)), place)
        if isinstance(node, yaml.ScalarNode):
            return Node(self._single(node, place), place, _printable(node.value, place))
        raise _tagged(node, place)

    def _enter(self, node: yaml.Node, path: str, depth: int) -> str:
        line = f"{self._file}:{node.start_mark.line + 1}"
        place = f"{line}: {path}" if path else line
        if depth > MAX_DEPTH:
            raise _too_deep(place)
        self._left -= 1
        if self._left < 0:
            raise DataError(
                f"{place}: more than {MAX_NODES} values", remedy="are there aliases of aliases? Remove them"
            )
        return place

    def _keys(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Node]:
        merged: dict[str, Node] = {}
        own: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                merged = {**self._merged(value, path, depth + 1), **merged}
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise DataError(f"{self._file}:{line}: a list or keys in place of a name", remedy="write a plain name")
            name = _printable(key.value, f"{self._file}:{line}")
            below = f"{path}.{name}" if path else name
            first = lines.setdefault(name, line)
            if name in own:
                raise DataError(f"{self._file}:{line}: {below}: is there already, in line {first}", remedy="remove one")
            own[name] = self.node(value, below, depth + 1)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, path: str, depth: int) -> Mapping[str, Node]:
        """What `<<:` brings: the keys of one mapping or of several, the first of which wins."""
        place = self._enter(node, path, depth)
        if isinstance(node, yaml.MappingNode):
            return self._keys(node, path, depth)
        if not isinstance(node, yaml.SequenceNode):
            raise DataError(f"{place}: << expects keys, or a list of such", remedy="write <<: *name")
        found: dict[str, Node] = {}
        for each in node.value:
            if not isinstance(each, yaml.MappingNode):
                raise DataError(f"{place}: << expects keys, or a list of such", remedy="write <<: *name")
            found = {**self._merged(each, path, depth + 1), **found}
        return found

    def _single(self, node: yaml.ScalarNode, place: str) -> object:
        if node.tag in _TEXTS:
            return node.value
        kind = node.tag.removeprefix(_CORE)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return self._loader.construct_yaml_bool(node)
            if kind == "int":
                return self._loader.construct_yaml_int(node)
            if kind == "float":
                return self._loader.construct_yaml_float(node)
        except (ValueError, KeyError) as exc:  # `!!int x`, or thousands of digits
            raise DataError(f"{place}: this is no {kind} that can be read", remedy="write a plain value") from exc
        raise _tagged(node, place)


def _no_yaml(path: Path, exc: yaml.MarkedYAMLError) -> DataError:
    """The error for what is no YAML. It quotes no more than a character of the file: a line may hold a password."""
    line = f":{exc.problem_mark.line + 1}" if exc.problem_mark else ""
    problem = exc.problem or "it cannot be read"
    if "alias" in problem:
        return DataError(f"{path}{line}: not YAML: an alias that nothing is named by", remedy=_QUOTES.format("*"))
    if "tag handle" in problem:
        return DataError(f"{path}{line}: not YAML: a tag that nothing declares", remedy=_QUOTES.format("!"))
    if "another document" in problem:
        return DataError(f"{path}{line}: a second document", remedy="keep one, without a line --- between")
    return DataError(f"{path}{line}: not YAML: {problem}", remedy="correct it; Frigate would not read it, either")


def _tagged(node: yaml.Node, place: str) -> DataError:
    if node.tag.startswith(_CORE):
        return DataError(f"{place}: the tag !!{node.tag.removeprefix(_CORE)} is not read", remedy="write a plain value")
    return DataError(
        f"{place}: a tag is not read", remedy=_QUOTES.format("!")
    )  # which may be a password without quotes


def _too_deep(place: str) -> DataError:
    return DataError(
        f"{place}: lists or keys in each other, more than {MAX_DEPTH} deep", remedy="is it Frigate's file?"
    )


def _printable(text: str, place: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # half of a character, by "\ud800"
        raise DataError(f"{place}: holds half a character (a surrogate)", remedy="write the character itself")
    return text
