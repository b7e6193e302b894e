"""Names and writes the files of a converted data set."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from edged.core.errors import DataError
from provisioning.data.items import Item
from provisioning.data.rendered import label_lines

_SEPARATORS = ("-", "--", "_")  # the first one is used that makes all new names different


@dataclass(frozen=True, slots=True)
class Written:
    """One item, with the paths of the picture and the label file to write."""

    item: Item
    picture: Path
    label: Path

    def write(self, names: Sequence[str]) -> None:
        """Write both files, which must not exist; the picture is hard-linked if possible, otherwise copied.

        Raises:
            OSError: one cannot be written.
        """
        for path in (self.picture, self.label):
            path.parent.mkdir(parents=True, exist_ok=True)
        source = self.item.picture.resolve()  # else a symbolic link would be linked itself, and be dead here
        try:
            os.link(source, self.picture)
        except FileExistsError:
            raise  # copying would overwrite a file that may be a hard link to another picture
        except OSError:
            shutil.copyfile(source, self.picture)
        class_id = np.array([names.index(name) for name in self.item.names], np.int32)
        self.label.write_text(label_lines(self.item.cxcywh, class_id), "ascii")


def plan(items: Sequence[Item], folder: Path) -> tuple[list[Written], list[str]]:
    """Choose the path of each picture. Pictures with the same name get their folders' names before it: `cam1-a.jpg`.

    Returns:
        What to write, and remarks on changed names.

    Raises:
        DataError: a path exists already, or two pictures would share a label file.
    """
    named = [_stems(items, separator) for separator in _SEPARATORS]
    stems = next((each for each in named if _differ(items, each)), named[0])
    found: list[Written] = []
    for item, stem in zip(items, stems, strict=True):
        picture = folder / "images" / item.split / f"{stem}{item.picture.suffix}"
        found.append(Written(item, picture, folder / "labels" / item.split / f"{stem}.txt"))
    _require_free(found)
    changed = [each for each in found if each.picture.name != each.item.picture.name]
    if not changed:
        return found, []
    first = changed[0]
    return found, [
        f"{len(changed)} pictures of equal names are renamed, the first: {first.item.picture} is {first.picture}"
    ]


def _stems(items: Sequence[Item], separator: str) -> list[str]:
    """The new file name of each picture, without its suffix."""
    stems = Counter((item.split, item.picture.stem) for item in items)
    alike = [item for item in items if stems[item.split, item.picture.stem] > 1]
    root = Path(os.path.commonpath([item.picture.parent for item in alike])) if alike else Path()
    twins = Counter((item.split, item.picture.parent, item.picture.stem) for item in alike)
    found = []
    for item in items:
        stem = item.picture.stem
        if stems[item.split, stem] > 1:
            stem = separator.join([*item.picture.parent.relative_to(root).parts, stem])
        if twins[item.split, item.picture.parent, item.picture.stem] > 1:  # a.jpg beside a.png
            stem += item.picture.suffix.replace(".", separator)
        found.append(stem)
    return found


def _differ(items: Sequence[Item], stems: Sequence[str]) -> bool:
    return len({(item.split, stem) for item, stem in zip(items, stems, strict=True)}) == len(items)


def _require_free(places: Sequence[Written]) -> None:
    taken: dict[Path, Path] = {}
    for each in places:
        other = taken.setdefault(each.label, each.item.picture)
        if other is not each.item.picture:
            raise DataError(
                f"two pictures would have the labels {each.label}: {other} and {each.item.picture}", remedy="rename one"
            )
        for path in (each.picture, each.label):
            if path.exists() or path.is_symlink():
                raise DataError(f"{path} is there already", remedy="choose another --to, or remove it")


def write_names(folder: Path, names: Sequence[str]) -> None:
    """Write `data.yaml` for the splits that exist in `folder`.

    Raises:
        OSError: it cannot be written.
    """
    splits = sorted(path.name for path in (folder / "images").iterdir() if path.is_dir())
    content = {**{split: f"images/{split}" for split in splits}, "names": dict(enumerate(names))}
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=1 << 16)
    (folder / "data.yaml").write_text(text, "utf-8")
