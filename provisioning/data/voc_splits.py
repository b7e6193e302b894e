"""Finds the split of each annotation in a VOC folder: by lists, by folders, or by a hash of its name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edged.core.errors import DataError
from edged.core.text import read_text
from provisioning.data.find_picture import files_below, name_parts
from provisioning.data.pictures import FORMATS
from provisioning.data.split_names import most_held_out, split_of_folder, split_of_path, split_of_source

MAX_LIST_BYTES = 256 << 20
_LISTS = "ImageSets"
_SUFFIXES = (*FORMATS, ".xml")


@dataclass(slots=True)
class _Lists:
    """The lists in `ImageSets` of one VOC folder."""

    root: Path
    by_path: dict[str, str] = field(default_factory=dict)
    by_name: dict[str, str] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)  # split -> a line, until one of its annotations is found

    def add(self, split: str, text: str) -> None:
        for line in filter(str.strip, text.splitlines()):
            self.unmatched.setdefault(split, line.strip())
            # The whole line, as names may have spaces; and its first word, without VOC's mark after it.
            for entry in (line.strip(), *line.split()[:1]):
                parts = name_parts(entry)
                if parts:
                    path = _without_suffix("/".join(parts))
                    _put(self.by_path, path, split)
                    _put(self.by_name, path.rpartition("/")[2], split)

    def split_of(self, file: Path) -> str:
        """The split of the longest end of the file's path that is listed; empty if none is."""
        parts = file.relative_to(self.root).with_suffix("").parts
        ends = ("/".join(parts[first:]) for first in range(len(parts)))
        split = next((self.by_path[end] for end in ends if end in self.by_path), self.by_name.get(file.stem, ""))
        self.unmatched.pop(split, None)
        return split


def share_of(name: str, val_share: float) -> str:
    """`val` for about that share (0..1) of all names, else `train`; always the same for the same name."""
    place = int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=4).digest(), "big") / 2**32
    return "val" if place < val_share else "train"


class VocSplits:
    """Finds splits. If lists and folders contradict each other, test comes before val and val before train."""

    def __init__(self, folder: Path, files: Iterable[Path], *, split: str, val_share: float) -> None:
        """Read the lists.

        Args:
            folder: the source.
            files: its annotations.
            split: of all annotations; empty uses lists and folders.
            val_share: share (0..1) that becomes val if there are neither lists nor folders of splits.

        Raises:
            DataError: a list cannot be read.
        """
        self._folder = folder
        self._given = split
        self._val_share = val_share
        self._lists = [] if split else _read_lists(folder)
        self._by_folder = not split and any(split_of_path(file, below=folder) for file in files)
        self._whole = split_of_source(folder)
        self._unlisted = False

    def of(self, file: Path) -> str:
        """The split of an annotation; empty if the lists leave it out.

        Raises:
            ValueError: other annotations lie in folders of splits, but this one does not.
        """
        if self._given:
            return self._given
        lists = [each for each in self._lists if file.is_relative_to(each.root)]
        said = [split_of_path(file, below=self._folder), *(each.split_of(file) for each in lists)]
        if any(said):
            return most_held_out(said)
        if lists:
            self._unlisted = True
            return "" if any("train" in each.by_path.values() for each in lists) else "train"
        if self._by_folder:
            raise ValueError("lies in no folder called train, valid or test, as others do; move it, or name --split")
        return self._whole or share_of(file.stem, self._val_share)

    def require_matched(self) -> None:
        """Check the lists; call it after `of` for all annotations.

        Raises:
            DataError: a list names no annotation, and some annotations are in no list: these could be its pictures.
        """
        for lists in self._lists if self._unlisted else ():
            for split, line in lists.unmatched.items():
                raise DataError(
                    f"{lists.root}: the list {split} in {_LISTS} names no annotation that is there, but {line!r}",
                    remedy="mend it, remove it, or name --split",
                )

    @property
    def remark(self) -> str:
        """Where the splits come from, for the user."""
        if self._given:
            return f"all of it is {self._given}, by --split"
        origins = [f"the lists in {_LISTS}"] * bool(self._lists) + ["the names of folders"] * self._by_folder
        if origins:
            return f"the splits are those of {' and '.join(origins)}"
        if self._whole:
            name = self._folder.resolve().name
            return f"all of it is {self._whole}, for the folder is called {name}; --split says another"
        return f"a share of {self._val_share:g} is val, by name: neither lists nor folders say more"


def _read_lists(folder: Path) -> list[_Lists]:
    beside = folder.resolve().parent / _LISTS  # if the source is the folder `Annotations` itself
    found: dict[Path, _Lists] = {}
    files = [*files_below(folder, ".txt"), *(files_below(beside, ".txt") if beside.is_dir() else ())]
    for file in files:
        sets = file.parent if file.parent.name == _LISTS else file.parent.parent
        split = split_of_folder(file.stem)
        if sets.name != _LISTS or file.parent.name not in {_LISTS, "Main"} or not split:
            continue
        root = sets.parent if file.is_relative_to(folder) else folder
        lists = found.setdefault(root, _Lists(root))
        try:
            lists.add(split, read_text(file, limit=MAX_LIST_BYTES, error=DataError))
        except OSError as exc:
            raise DataError(f"{file} cannot be read: {exc.strerror}") from exc
    return list(found.values())


def _put(splits: dict[str, str], name: str, split: str) -> None:
    splits[name] = most_held_out([split, splits.get(name, split)])


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in _SUFFIXES else name
