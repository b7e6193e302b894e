"""The data-set YAML of the YOLO format: where the pictures of each split are and what the classes are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edged.core.errors import DataError

SPLITS = ("train", "val", "test")
MAX_SPEC_BYTES = 1 << 20
SPEC_NAME = "data.yaml"
_KNOWN_SHAPE = "path: DIR, train: DIR or LIST.txt, val: ..., names: [a, b] or {0: a, 1: b}"


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A data set's description, read and checked.

    Attributes:
        file: the YAML itself, for messages.
        sources: per split, the folders, list files and pictures it names, absolute; a split not named is absent.
        names: the classes, by class id.
    """

    file: Path
    sources: Mapping[str, tuple[Path, ...]]
    names: tuple[str, ...]


def read_spec(file: Path) -> DataSpec:
    """Read a data-set YAML; relative paths in it start at its own folder (and at `path`, when it is given).

    Args:
        file: the YAML, or the folder that holds it as `data.yaml`.

    Raises:
        DataError: unreadable, not YAML, no split, no class names, or `nc` and `names` contradict each other.
    """
    file = file / SPEC_NAME if file.is_dir() else file
    content = _load(file)
    root = content.get("path") or "."
    if not isinstance(root, str):
        raise DataError(f"{file}: path must be text, got {root!r}")
    base = file.resolve().parent / Path(root).expanduser()
    sources = {
        split: _sources(content[split], base, where=f"{file}: {split}")
        for split in SPLITS
        if content.get(split) not in (None, "", [])
    }
    if not sources:
        raise DataError(f"{file} names no pictures", remedy=f"a data-set YAML looks like: {_KNOWN_SHAPE}")
    names = _names(content.get("names"), file)
    count = content.get("nc", len(names))
    if count != len(names):
        raise DataError(
            f"{file}: nc says {count!r} classes, names lists {len(names)} ({', '.join(names[:5])})",
            remedy="correct one of the two",
        )
    return DataSpec(file=file, sources=sources, names=names)


def _load(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_SPEC_BYTES + 1)
    except OSError as exc:
        raise DataError(
            f"data set {file} cannot be read: {exc.strerror}",
            remedy=f"name its YAML file, or the folder of its {SPEC_NAME}",
        ) from exc
    if len(text) > MAX_SPEC_BYTES:
        raise DataError(f"{file} is larger than {MAX_SPEC_BYTES} bytes: not a data-set YAML")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as exc:
        raise DataError(f"{file} is not YAML: {' '.join(str(exc).split())[:300]}") from exc
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no keys", remedy=f"a data-set YAML looks like: {_KNOWN_SHAPE}")
    return content


def _sources(value: object, base: Path, *, where: str) -> tuple[Path, ...]:
    entries = value if isinstance(value, list) else [value]
    paths = [base / Path(entry).expanduser() for entry in entries if isinstance(entry, str)]
    if len(paths) != len(entries):
        raise DataError(f"{where} must be a path or a list of paths, got {value!r}")
    return tuple(paths)


def _names(value: object, file: Path) -> tuple[str, ...]:
    if isinstance(value, dict):
        if set(value) != set(range(len(value))):
            raise DataError(
                f"{file}: names must be numbered 0 to {len(value) - 1} without gaps, got {sorted(map(str, value))}"
            )
        value = [value[number] for number in range(len(value))]
    if not isinstance(value, list) or not value:
        raise DataError(f"{file}: names must list the classes, got {value!r}", remedy=f"e.g. {_KNOWN_SHAPE}")
    names = tuple(str(name).strip() for name in value)
    if not all(names) or len(set(names)) != len(names):
        raise DataError(f"{file}: class names must be different and not empty, got {list(names)}")
    return names
