"""Finds the label file of a picture, and label files that are in the wrong place."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from edged.core.text import decoded_text
from provisioning.data.pictures import FORMATS
from provisioning.data.places import is_there

_IMAGES, _LABELS = "images", "labels"
_LIKE_LABELS = ("label", "annotation", "txt")  # other names of that folder begin like this
_LABEL_LINE = re.compile(r"\s*\d+(\.0*)?(\s+-?[\d.]+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_HEAD_BYTES = 4096
_SEARCHED = 200_000  # most files that a search for labels visits, as a data set may lie in a large folder


def label_path(picture: Path, *, root: Path | None = None) -> Path:
    """Path of a picture's label file: the last folder called `images` becomes `labels`, the suffix becomes `.txt`.

    Without such a folder, the label file is beside the picture. If it is missing and the picture is a link, the label
    file of the link's target is used. If none exists, the path where it is expected is returned.

    Args:
        picture: the file.
        root: folder of the data set. If only folders above it are called `images`, a label file beside the picture
            is used, too.
    """
    expected = _counterpart(picture)
    if is_there(expected, follow=False):  # a dead link is a defect of the labels, not a picture of background
        return expected
    others = [_counterpart(picture.resolve())]
    if root is not None and picture.is_relative_to(root) and _IMAGES not in picture.relative_to(root).parts[:-1]:
        others.insert(0, picture.with_suffix(".txt"))
    return next((path for path in others if is_there(path, follow=False)), expected)


class MisplacedLabels:
    """Finds label files near their expected place. Lists each folder only once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}
        self._near: dict[tuple[Path, Path], list[Path]] = {}
        self._in_use: dict[Path, bool] = {}

    def of(self, picture: Path, expected: Path) -> Path | None:
        """The label file of a picture that has none at `expected`; None if none is found.

        It is looked for beside the picture and in folders such as `Labels`, also with the suffixes `.TXT` and
        `.jpg.txt`. Only a file with label lines counts, and only if it belongs to no other picture.
        """
        places = picture.parent, expected.parent
        if places not in self._near:
            self._near[places] = list(dict.fromkeys(self._candidates(picture, expected)))
        wanted = f"{picture.stem}.txt".lower(), f"{picture.name}.txt".lower()
        for folder in self._near[places]:
            for name in (name for each in wanted for name in self._named(folder).get(each, ())):
                path = folder / name
                if path != expected and not self._is_anothers(path, picture) and holds_labels(path):
                    return path
        return None

    def is_certain(self, picture: Path, expected: Path, found: Path) -> bool:
        """Whether the labels at `found` can only belong to this picture.

        If the folder of the `expected` file holds labels of other pictures, a label file in another folder may be of
        another data set or version.
        """
        folder = expected.parent
        if found.parent in {folder, picture.parent}:
            return True
        if folder not in self._in_use:
            names = (name for key, names in self._named(folder).items() if key for name in names)
            self._in_use[folder] = any(holds_labels(folder / name) for name in names)
        return not self._in_use[folder]

    def _candidates(self, picture: Path, expected: Path) -> Iterator[Path]:
        yield expected.parent
        yield picture.parent
        parts = picture.parent.parts
        at = next((place for place in range(len(parts) - 1, 0, -1) if parts[place].lower() == _IMAGES), len(parts) - 1)
        above, rest = Path(*parts[:at]), parts[at + 1 :]
        for parent in (above, picture.parent):
            for name in self._named(parent).get("", ()):
                yield parent.joinpath(name, *rest)
                yield parent / name

    def _is_anothers(self, labels: Path, picture: Path) -> bool:
        """Whether these labels are the expected ones of another picture that exists."""
        parts = list(labels.parent.parts)
        if _LABELS in parts:
            parts[len(parts) - 1 - parts[::-1].index(_LABELS)] = _IMAGES
        folders = {Path(*parts), labels.parent}
        owners = {folder / f"{labels.stem}{suffix}" for folder in folders for suffix in FORMATS}
        return any(owner != picture and _counterpart(owner) == labels and os.path.exists(owner) for owner in owners)

    def _named(self, folder: Path) -> dict[str, list[str]]:
        """Names of label files by their lower-case form; under the empty key, folders named like `labels`."""
        if folder not in self._folders:
            found: dict[str, list[str]] = {}
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            for name in names:
                if name.lower().startswith(_LIKE_LABELS) and os.path.isdir(folder / name):
                    found.setdefault("", []).append(name)
                elif name.lower().endswith(".txt") and not name.startswith("."):
                    found.setdefault(name.lower(), []).append(name)
            self._folders[folder] = found
        return self._folders[folder]


def holds_labels(file: Path) -> bool:
    """Whether the first line of a file is a label line, of a box or polygon."""
    if not os.path.isfile(file):
        return False
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        lines = decoded_text(head[: head.rfind(b"\n")] if len(head) == _HEAD_BYTES else head).splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    first = next((line for line in lines if line.strip()), "")
    return _LABEL_LINE.fullmatch(first) is not None


def folder_of_labels(pictures: Sequence[Path], root: Path, *, known: Collection[Path]) -> tuple[Path, int] | None:
    """The folder below `root` with most label files for these pictures, and how many it has; None if there are none.

    Of several with the same number, the one that has most folder names in common with the first picture's path.

    Args:
        pictures: whose labels are missing.
        root: where to search; the search stops after about _SEARCHED files.
        known: paths of label files that are not counted.
    """
    stems = {name for picture in pictures for name in (picture.stem.lower(), picture.name.lower())}
    found: Counter[Path] = Counter()
    looked_at = 0
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        looked_at += len(files)
        for name in files:
            path = Path(place, name)
            if (
                path.suffix.lower() == ".txt"
                and path.stem.lower() in stems
                and path not in known
                and holds_labels(path)
            ):
                found[path.parent] += 1
        if looked_at > _SEARCHED:
            break
    theirs = {part for picture in pictures[:1] for part in picture.parent.parts}
    ranked = sorted(found, key=lambda folder: (found[folder], len(theirs & set(folder.parts))))
    return (ranked[-1], found[ranked[-1]]) if ranked else None


def _counterpart(picture: Path) -> Path:
    parts = list(picture.parent.parts)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position] == _IMAGES:
            parts[position] = _LABELS
            break
    return Path(*parts) / f"{picture.stem}.txt"
