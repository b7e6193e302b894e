"""Reads darknet's `obj.data`, which CVAT exports as "YOLO 1.1": `key = value` lines that name list files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edged.core.errors import DataError
from edged.core.text import decoded_text
from provisioning.data.places import find_place

_MAX_NAMES_BYTES = 1 << 20
_KEYS = {"train": "train", "valid": "val", "val": "val", "test": "test", "classes": "nc", "names": "names"}
_SHAPE = "classes = 1, train = train.txt, valid = valid.txt, names = obj.names"


def read_darknet(file: Path, content: bytes) -> dict[str, Any]:
    """Read it into the keys of a data-set YAML: train, val, test (list files), nc, and names (a list).

    Args:
        file: its path; relative paths in it start at its folder.
        content: of that file.

    Raises:
        DataError: it is not text, a line has no `=`, or the class names are missing or cannot be read.
    """
    found: dict[str, Any] = {}
    for number, line in enumerate(_text(file, content).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise DataError(
                f"{file}:{number}: expected `key = value`, got {line.strip()[:80]!r}", remedy=f"it looks like: {_SHAPE}"
            )
        if key.lower() in _KEYS:
            found[_KEYS[key.lower()]] = value
    if "names" not in found:
        raise DataError(f"{file} names no class list", remedy=f"it looks like: {_SHAPE}")
    return {**found, "names": _names(find_place(found["names"], file.resolve().parent))}


def _names(file: Path) -> list[str]:
    """One class a line. Empty lines at the end are ignored; one between names is an error, as it would shift ids."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_NAMES_BYTES + 1)
    except OSError as exc:
        raise DataError(
            f"class list {file} cannot be read: {exc.strerror}", remedy="correct names in obj.data"
        ) from exc
    if len(content) > _MAX_NAMES_BYTES:
        raise DataError(f"{file} is larger than {_MAX_NAMES_BYTES} bytes: not a class list")
    names = [line.strip() for line in _text(file, content).rstrip().splitlines()]
    if "" in names:
        raise DataError(f"{file}:{names.index('') + 1}: empty, but each line is the class of its number")
    return names


def _text(file: Path, content: bytes) -> str:
    try:
        return decoded_text(content)
    except UnicodeDecodeError as exc:
        raise DataError(f"{file} is not a text file: byte {exc.start} is no UTF-8") from exc
