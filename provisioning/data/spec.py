"""Reads the description of a data set in YOLO format: the pictures of each split, and the class names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edged.core.errors import DataError
from edged.core.text import decoded_text
from provisioning.data.darknet import read_darknet
from provisioning.data.labels import Defect, Severity
from provisioning.data.places import find_place, is_there, is_unwritable, place_beside, plain_place
from provisioning.names import ordered_names

SPLITS = ("train", "val", "test")
MAX_SPEC_BYTES = 1 << 20
SPEC_NAMES = ("data.yaml", "data.yml", "obj.data")
_OF_VAL = ("valid", "validation")  # other names of val
_DARKNET_SUFFIX = ".data"
_KNOWN_SHAPE = "path: DIR, train: DIR or LIST.txt, val: ..., names: [a, b] or {0: a, 1: b}"


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A data set's description, read and checked.

    Attributes:
        file: of the description.
        sources: by split, the folders, list files and pictures that it names, absolute; only for splits it names.
        names: class names, by class id.
        defects: notes and warnings on its paths.
    """

    file: Path
    sources: Mapping[str, tuple[Path, ...]]
    names: tuple[str, ...]
    defects: tuple[Defect, ...] = ()

    @property
    def folder(self) -> Path:
        """The description's folder, absolute."""
        return self.file.resolve().parent


def spec_file(data: Path) -> Path:
    """The description of a data set: `data` itself, or in a folder the first of `SPEC_NAMES` that exists."""
    if not os.path.isdir(data):
        return data
    return next((data / name for name in SPEC_NAMES if is_there(data / name)), data / SPEC_NAMES[0])


def read_spec(file: Path) -> DataSpec:
    """Read a data-set YAML, or an `obj.data` as darknet and CVAT write it.

    Relative paths start at `path`, if the file has it, else at the file's folder; `find_place` says what is tried.

    Args:
        file: the description, or the folder that holds it.

    Raises:
        DataError: it cannot be read, is not YAML, has no split or no class names, is for key points, or `nc` and
            `names` contradict each other.
    """
    file = spec_file(file)
    content = _load(file)
    if "kpt_shape" in content:  # with --polygons, its lines would look like polygons
        raise DataError(f"{file}: kpt_shape: key points are not trained here", remedy="write labels of boxes only")
    root = content.get("path") or "."
    if not isinstance(root, str):
        raise DataError(f"{file}: path must be text, got {root!r}")
    base = find_place(root, file.resolve().parent)
    defects = list(_remarks(root, file.resolve().parent, base, where="path", file=file))
    sources = {
        split: _sources(given, base, split=split, defects=defects, file=file)
        for split in SPLITS
        if (given := _given(content, split)) not in (None, "", [])
    }
    if not sources:
        raise DataError(f"{file} names no pictures", remedy=f"a data-set YAML looks like: {_KNOWN_SHAPE}")
    names = _names(content.get("names"), file)
    count = content.get("nc", len(names))
    if isinstance(count, str) and count.strip().isdecimal():
        count = int(count)
    if count != len(names):
        raise DataError(
            f"{file}: nc says {count!r} classes, names lists {len(names)} ({', '.join(names[:5])})",
            remedy="correct one of the two",
        )
    return DataSpec(file=file, sources=sources, names=names, defects=tuple(defects))


def _given(content: Mapping[str, Any], split: str) -> object:
    names = (split, *(_OF_VAL if split == "val" else ()))
    return next((content[name] for name in names if content.get(name) not in (None, "", [])), None)


def read_yaml_names(file: Path) -> tuple[str, ...]:
    """The class names, by class id, of a YAML with the key `names`.

    Raises:
        DataError: it cannot be read, is not YAML, or has no class names.
    """
    return _names(_load(file).get("names"), file)


def _load(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_SPEC_BYTES + 1)
    except OSError as exc:
        raise DataError(
            f"data set {file} cannot be read: {exc.strerror}",
            remedy=f"name its YAML file, or the folder of its {' or '.join(SPEC_NAMES)}",
        ) from exc
    if len(text) > MAX_SPEC_BYTES:
        raise DataError(f"{file} is larger than {MAX_SPEC_BYTES} bytes: not a data-set YAML")
    if file.suffix.lower() == _DARKNET_SUFFIX:
        return read_darknet(file, text)
    try:
        content = yaml.safe_load(decoded_text(text))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as exc:
        hint = "; write paths with /, or in single quotes" if "escape" in str(exc) else ""
        raise DataError(f"{file} is not YAML: {' '.join(str(exc).split())[:300]}{hint}") from exc
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no keys", remedy=f"a data-set YAML looks like: {_KNOWN_SHAPE}")
    return content


def _sources(value: object, base: Path, *, split: str, defects: list[Defect], file: Path) -> tuple[Path, ...]:
    where = f"{file}: {split}"
    paths = []
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, str) or not entry.strip():
            raise DataError(f"{where} must be a path or a list of paths, got {value!r}")
        if is_unwritable(entry):
            raise DataError(
                f"{where} holds a control character: {entry!r}",
                remedy="between double quotes a backslash is an escape: write paths with /",
            )
        path = find_place(entry, base)
        defects += _remarks(entry, base, path, where=split, file=file)
        paths.append(path)
    return tuple(paths)


def _remarks(entry: str, base: Path, taken: Path, *, where: str, file: Path) -> Iterator[Defect]:
    """A note if the path beside the YAML is used, a warning if it could be meant; nothing if a path is unambiguous."""
    plain, beside = plain_place(entry, base), place_beside(entry, base)
    if beside in {plain, base} or not is_there(beside):
        return
    if beside == taken:
        if file.suffix.lower() == _DARKNET_SUFFIX:
            return  # CVAT always writes data/: not worth a note
        message = f"{where}: {entry} is not there; {taken} is read"
        yield Defect(file, 0, Severity.NOTE, "path beside the YAML", message)
    elif entry.startswith(".."):
        message = f"{where}: {entry} is {taken}, not {beside}, which is there, too; make sure that it is meant"
        yield Defect(file, 0, Severity.WARNING, "ambiguous path", message)


def _names(value: object, file: Path) -> tuple[str, ...]:
    try:
        names = ordered_names(value)
    except ValueError as exc:
        raise DataError(f"{file}: names: {exc}", remedy=f"e.g. {_KNOWN_SHAPE}") from exc
    if len(set(names)) != len(names):
        raise DataError(f"{file}: class names must be different, got {list(names)}")
    return names
