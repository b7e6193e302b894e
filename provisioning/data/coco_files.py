"""COCO's JSON files: which a folder holds, which split each is, and what classes they have together."""

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
_INSTANCES = "instances"  # how COCO calls the files that have boxes, beside captions and keypoints
_INNER_FOLDERS = ("annotations", "labels")
_NO_PARENT = ("", "none")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Category:
    """A class of one file.

    Attributes:
        key: its id as text, for some tools write numbers so.
        name: not empty.
        parent: its `supercategory`, lower case; may be empty.
    """

    key: str
    name: str
    parent: str


@dataclass(frozen=True, slots=True)
class CocoFile:
    """One file, parsed; its lists hold objects only."""

    path: Path
    split: str
    content: Mapping[str, Sequence[Mapping[str, Any]]]
    categories: tuple[Category, ...]


def open_coco(source: Path, *, split: str) -> tuple[list[CocoFile], list[str]]:
    """The files of a data set, and remarks on them.

    Args:
        source: a JSON file, or a folder; of a folder with files called `instances...` the others are left out.
        split: which split all of it is; empty to go by the names of files and folders.

    Raises:
        DataError: nothing there in COCO's form, or several files of which only some say their split.
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
    """By the file's own name, else by those of the folders below the source."""
    return split_of_stem(path.stem) or split_of_path(path, below=source)


def load_json(file: Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The content of one file.

    Raises:
        DataError: unreadable, not JSON, or not COCO's.
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
    """An id as text: 1, 1.0 and "1" are the same.

    Raises:
        ValueError: no id.
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
        by_file: a file's category ids -> names.
        roots: categories that were left out, being only the parents of others.
        unused: names without an annotation.
    """

    names: tuple[str, ...]
    by_file: Mapping[Path, Mapping[str, str]]
    roots: tuple[str, ...]
    unused: tuple[str, ...]


def classes_of(files: Sequence[CocoFile]) -> Classes:
    """Join the classes of files by their names.

    Raises:
        DataError: two categories of a file have the same name, or none is left.
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
            continue  # said where its picture is read
        if key in names:
            yield key, names[key]


def _is_root(category: Category, file: CocoFile) -> bool:
    """Whether a category without annotations only names the group of the others, as Roboflow's first one does."""
    others = [each for each in file.categories if each is not category]
    if any(each.parent == category.name.lower() for each in others):
        return True
    stands_alone = category.parent in _NO_PARENT and all(each.parent not in _NO_PARENT for each in others)
    return category.key == "0" and bool(others) and stands_alone
