"""Which split a folder or a file is, by its name: `train`, `valid`, `test2017`, `instances_val2017`."""

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
# What may stand beside such a word in a folder's name: `train_images` is a split, `train_station` is none.
_BESIDE = re.compile(
    r"|images?|imgs?|pictures?|photos?|sets?|data|datasets?|splits?|annotations?|labels?|voc|xmls?|coco|jpe?gs?"
)
_WORD = re.compile(r"[^\W\d_]+")


def split_of_folder(name: str) -> str:
    """The split that a folder's whole name says, or an empty string."""
    words = _words(name)
    found = {_WORDS[word] for word in words if word in _WORDS}
    alone = all(word in _WORDS or _BESIDE.fullmatch(word) for word in words)
    return found.pop() if alone and len(found) == 1 else ""


def split_of_stem(stem: str) -> str:
    """The split that a word in a file's name says, or an empty string where it says none or several."""
    found = {_WORDS[word] for word in _words(stem) if word in _WORDS}
    return found.pop() if len(found) == 1 else ""


def split_words(stem: str) -> list[str]:
    """The parts of a file's name that say a split, digits included: `instances_val2017` -> `val2017`, `val`."""
    parts = [part for part in re.split(r"[\W_]+", stem) if split_of_folder(part)]
    return list(dict.fromkeys([*parts, *(word for part in parts for word in _words(part))]))


def split_of_path(path: Path, *, below: Path) -> str:
    """The split that the folders of a file below another say, the one furthest from training; or an empty string."""
    return most_held_out(split_of_folder(name) for name in path.parent.relative_to(below).parts)


def split_of_source(folder: Path) -> str:
    """The split that the name of a whole source says, or an empty string. What is in it goes before."""
    return split_of_folder(folder.resolve().name)


def most_held_out(said: Iterable[str]) -> str:
    """Of several splits that are said of one picture the one that keeps it furthest from training; empty for none."""
    return max(filter(None, said), key=SPLITS.index, default="")


def _words(name: str) -> list[str]:
    return _WORD.findall(name.lower())
