"""Recognises splits in the names of folders and files: `train`, `valid`, `test2017`, `instances_val2017`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from provisioning.data.spec import SPLITS

_WORDS = {
    word: split
    for split, words in {
        "train": ("train", "training", "trainval"),
        "val": ("val", "valid", "validation", "validate", "eval", "evaluation"),
        "test": ("test", "testing", "holdout"),
    }.items()
    for word in words
}
# Other words allowed in the name of a split's folder: `train_images` is a split, `train_station` is not.
_BESIDE = re.compile(
    r"|images?|imgs?|pictures?|photos?|sets?|data|datasets?|splits?|annotations?|labels?|voc|xmls?|coco|jpe?gs?"
)
_WORD = re.compile(r"[^\W\d_]+")


def split_of_folder(name: str) -> str:
    """The split that a folder's name means; empty if it means none, or has other words."""
    words = _words(name)
    found = {_WORDS[word] for word in words if word in _WORDS}
    alone = all(word in _WORDS or _BESIDE.fullmatch(word) for word in words)
    return found.pop() if alone and len(found) == 1 else ""


def split_of_stem(stem: str) -> str:
    """The split that a word in a file's name means; empty if there is none, or several."""
    found = {_WORDS[word] for word in _words(stem) if word in _WORDS}
    return found.pop() if len(found) == 1 else ""


def split_words(stem: str) -> list[str]:
    """The parts of a file's name that mean a split: `instances_val2017` gives `val2017` and `val`."""
    parts = [part for part in re.split(r"[\W_]+", stem) if split_of_folder(part)]
    return list(dict.fromkeys([*parts, *(word for part in parts for word in _words(part))]))


def split_of_path(path: Path, *, below: Path) -> str:
    """The split that the folders between `below` and the file mean (`most_held_out` of several); or empty."""
    return most_held_out(split_of_folder(name) for name in path.parent.relative_to(below).parts)


def split_of_source(folder: Path) -> str:
    """The split that the name of the source's folder means, or empty. Names inside it have priority."""
    return split_of_folder(folder.resolve().name)


def most_held_out(said: Iterable[str]) -> str:
    """The first of test, val, train that is among `said`, so that no held-out picture is trained on; empty for none."""
    return max(filter(None, said), key=SPLITS.index, default="")


def _words(name: str) -> list[str]:
    return _WORD.findall(name.lower())
