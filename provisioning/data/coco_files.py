"""Finds and parses COCO's JSON files, with the split of each and the classes of all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edged.core.errors import DataError
from edged.core.text import decoded_text, undecodable
from provisioning.data.find_picture import files_below
from provisioning.data.spec import SPLITS
from provisioning.data.split_names import split_of_path, split_of_source, split_of_stem

MAX_JSON_BYTES = 2 << 30
_KEYS = ("images", "annotations", "categories")
_INSTANCES = "instances"  # COCO's name for files with boxes; others hold captions or key points
_INNER_FOLDERS = ("annotations", "labels")
_NO_PARENT = ("", "none")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Category:
    """A class of one file.

    Attributes:
        key: its id as text, as some tools write it so.
        name: not empty.
        parent: its `supercategory`, lower case; may be empty.
    """

    key: str
    name: str
    parent: str


@dataclass(frozen=True, slots=True)
class CocoFile:
    """One parsed file. `split` may be empty; the lists of `content` hold JSON objects only."""

    path: Path
    split: str
    content: Mapping[str, Sequence[Mapping[str, Any]]]
    categories: tuple[Category, ...]


def open_coco(source: Path, *, split: str) -> tuple[list[CocoFile], list[str]]:
    """Parse the files of a data set.

    Args:
        source: a JSON file or a folder. If a folder has files called `instances...`, only these are used.
        split: of all files; empty uses the names of files and folders.

    Returns:
        The files, train first, and the problems of those in a folder that were left out.

    Raises:
        DataError: there is no file in COCO's format, or only some of several files say their split.
    """
    if not source.is_dir():
        content = load_json(source)
        folder = source.absolute().parent
        folder = folder.parent if folder.name.lower() in _INNER_FOLDERS else folder
        return [_parsed(source, split or split_of_stem(source.stem) or split_of_source(folder), content)], []
    paths = list(files_below(source, ".json"))
    paths = [path for path in paths if path.name.lower().startswith(_INSTANCES)] or paths
    found, problems = [], []
    for path in paths:
        try:
            content = load_json(path)
        except DataError as exc:
            problems.append(str(exc))
            continue
        found.append(_parsed(path, split or _split_of(path, source), content))
    if not found:
        raise DataError(problems[0] if problems else f"{source} holds no JSON files", remedy="name COCO's JSON file")
    if not any(each.split for each in found):
        found = [replace(each, split=split_of_source(source)) for each in found]
    silent = [str(each.path) for each in found if not each.split]
    if silent and len(silent) < len(found):
        raise DataError(
            f"which split is {', '.join(silent[:_SHOWN])}? Its name does not say, as those of others do",
            remedy="rename it, or convert the files one by one with --split",
        )
    return sorted(found, key=lambda each: SPLITS.index(each.split or SPLITS[0])), problems


def _split_of(path: Path, source: Path) -> str:
    """The split that the file's name says, else the folders between it and the source."""
    return split_of_stem(path.stem) or split_of_path(path, below=source)


def load_json(file: Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The content of one file.

    Raises:
        DataError: it cannot be read, is larger than MAX_JSON_BYTES, not JSON, or not COCO's.
    """
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{file} is larger than {MAX_JSON_BYTES} bytes")
        content = json.loads(decoded_text(file.read_bytes()))
    except OSError as exc:
        raise DataError(f"{file} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise DataError(f"{file}: {undecodable(exc)}", remedy="save the file as UTF-8") from exc
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{file} is not JSON: {exc}") from exc
    whole = isinstance(content, dict) and all(
        isinstance(content.get(key), list) and all(isinstance(entry, dict) for entry in content[key]) for key in _KEYS
    )
    if not whole:
        raise DataError(f"{file} is not COCO's JSON: it needs the lists {', '.join(_KEYS)}")
    return content  # type: ignore[no-any-return]


def _parsed(path: Path, split: str, content: Mapping[str, Sequence[Mapping[str, Any]]]) -> CocoFile:
    try:
        categories = tuple(_category(entry) for entry in content["categories"])
    except (KeyError, ValueError) as exc:
        raise DataError(f"{path}: every category needs an `id` and a `name`: {exc}") from exc
    if not categories or len({each.key for each in categories}) != len(categories):
        raise DataError(f"{path}: categories must have different ids and names")
    return CocoFile(path, split, content, categories)


def _category(entry: Mapping[str, Any]) -> Category:
    given = entry["name"]
    name = str(given).strip() if isinstance(given, (str, int)) else ""
    if not name or not name.isprintable():
        raise ValueError(f"got the name {given!r}")
    return Category(id_of(entry["id"]), name, str(entry.get("supercategory") or "").strip().lower())


def id_of(value: object) -> str:
    """An id as text; 1, 1.0 and "1" are the same.

    Raises:
        ValueError: it is neither an integer nor text, or is empty.
    """
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not text:
        raise ValueError(f"{value!r} is no id")
    return text


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of several files together.

    Attributes:
        names: in the order of their ids.
        by_file: for each file, name by category id.
        roots: names of categories that were left out because they only group others.
        unused: names without an annotation.
    """

    names: tuple[str, ...]
    by_file: Mapping[Path, Mapping[str, str]]
    roots: tuple[str, ...]
    unused: tuple[str, ...]


def classes_of(files: Sequence[CocoFile]) -> Classes:
    """Merge the classes of the files by name.

    Raises:
        DataError: two categories of a file have the same name, or a file has no class left.
    """
    used = {pair for file in files for pair in _used(file)}
    by_file: dict[Path, dict[str, str]] = {}
    roots: dict[str, None] = {}
    first: dict[str, str] = {}
    for file in files:
        dropped = [each for each in file.categories if (each.key, each.name) not in used and _is_root(each, file)]
        kept = [each for each in file.categories if each not in dropped]
        if not kept or len({each.name for each in kept}) != len(kept):
            raise DataError(f"{file.path}: categories must have different ids and names")
        roots.update(dict.fromkeys(each.name for each in dropped))
        by_file[file.path] = {each.key: each.name for each in kept}
        for each in kept:
            first.setdefault(each.name, each.key)
    numbered = all(key.isdecimal() for key in first.values())
    names = tuple(sorted(first, key=lambda name: int(first[name])) if numbered else first)
    with_boxes = {name for _, name in used}
    return Classes(names, by_file, tuple(roots), tuple(name for name in names if name not in with_boxes))


def _used(file: CocoFile) -> Iterator[tuple[str, str]]:
    names = {each.key: each.name for each in file.categories}
    for annotation in file.content["annotations"]:
        try:
            key = id_of(annotation.get("category_id"))
        except ValueError:
            continue  # reported where its picture is read
        if key in names:
            yield key, names[key]


def _is_root(category: Category, file: CocoFile) -> bool:
    """Whether a category without annotations only groups the others, as Roboflow's first one does."""
    others = [each for each in file.categories if each is not category]
    if any(each.parent == category.name.lower() for each in others):
        return True
    stands_alone = category.parent in _NO_PARENT and all(each.parent not in _NO_PARENT for each in others)
    return category.key == "0" and bool(others) and stands_alone
