"""Other formats into the YOLO format: everything is read and checked before anything is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edged.core.errors import DataError, EdgedError
from edged.core.types import Floats
from provisioning.data.coco import read_coco
from provisioning.data.items import Item, Reading
from provisioning.data.labels import Severity
from provisioning.data.rendered import label_lines
from provisioning.data.samples import list_pictures, read_samples
from provisioning.data.spec import read_spec
from provisioning.data.voc import read_voc

FORMATS = ("voc", "coco", "yolo")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion did.

    Attributes:
        pictures, boxes: written.
        background: pictures among them without a box.
        left_out: pictures with defects, not written.
        names: classes of the data set.
        notes: how much was left out by the format's own marks (difficult, crowd, other classes).
    """

    pictures: int
    boxes: int
    background: int
    left_out: int
    names: tuple[str, ...]
    notes: tuple[str, ...]


def read_source(source: Path, *, kind: str, split: str, val_share: float, images: Path | None) -> Reading:
    """Read a data set of another format.

    Args:
        source: a folder (voc), a JSON file (coco) or a data-set YAML (yolo).
        kind: one of `FORMATS`.
        split: which split a COCO file is; VOC folders and YOLO data sets know their own.
        val_share: of a VOC folder without lists of its own, this share becomes val.
        images: where the pictures of a COCO file are, when not beside it.

    Raises:
        DataError: not the format that it is said to be.
    """
    if kind == "voc":
        return read_voc(source, val_share=val_share)
    if kind == "coco":
        return read_coco(source, images=images, split=split)
    return _read_yolo(source)


def write_dataset(
    reading: Reading, folder: Path, *, only: Sequence[str] = (), skip_bad: bool = False, progress: bool = False
) -> Converted:
    """Write what was read as a YOLO data set; pictures are hard-linked where that works, else copied.

    Args:
        reading: from `read_source`.
        folder: may hold an earlier conversion with the same classes, which is added to.
        only: class names to keep, in this order; empty for all.
        skip_bad: leave pictures with defects out instead of refusing.
        progress: show a bar on a terminal.

    Raises:
        DataError: defects, classes that do not exist, or files of the same name in `folder`.
        EdgedError: `folder` cannot be written.
    """
    bad = {defect.path for defect in reading.defects if defect.severity is Severity.ERROR}
    if bad and not skip_bad:
        shown = "\n  ".join(str(defect) for defect in reading.defects[:_SHOWN])
        raise DataError(
            f"{len(reading.defects)} defects in {len(bad)} files, nothing was written:\n  {shown}\n",
            remedy="mend them, or leave these files out with --skip-bad",
        )
    names = tuple(only) or reading.names
    unknown = [name for name in names if name not in reading.names]
    if unknown:
        raise DataError(f"no class is called {', '.join(unknown)}", remedy=f"there are: {', '.join(reading.names)}")
    items = [_only(item, names) for item in reading.items]
    dropped = sum(map(len, (item.names for item in reading.items))) - sum(len(item.names) for item in items)
    _require_free(items, folder, names)
    try:
        for item in tqdm(items, unit="picture", disable=None if progress else True):
            _write_item(item, folder, names)
        _write_yaml(folder, names)
    except OSError as exc:
        raise EdgedError(f"{folder} cannot be written: {exc}", remedy="free some space or choose another --to") from exc
    notes = (*reading.notes, f"{dropped} boxes of other classes") if dropped else reading.notes
    background = sum(not item.names for item in items)
    return Converted(len(items), sum(len(item.names) for item in items), background, len(bad), names, notes)


def _read_yolo(file: Path) -> Reading:
    spec = read_spec(file)
    items, defects = [], []
    for split, sources in spec.sources.items():
        for sample, found in read_samples(list_pictures(sources), classes=len(spec.names)):
            errors = [defect for defect in found if defect.severity is Severity.ERROR]
            defects += errors
            if not errors:
                names = tuple(spec.names[number] for number in sample.labels.class_id)
                items.append(Item(sample.picture, split, names, sample.labels.cxcywh))
    return Reading(tuple(items), spec.names, tuple(defects), ())


def _only(item: Item, names: Sequence[str]) -> Item:
    kept = [place for place, name in enumerate(item.names) if name in names]
    boxes: Floats = item.cxcywh[kept].reshape(-1, 4)
    return Item(item.picture, item.split, tuple(item.names[place] for place in kept), boxes)


def _targets(item: Item, folder: Path) -> tuple[Path, Path]:
    picture = folder / "images" / item.split / item.picture.name
    return picture, folder / "labels" / item.split / f"{item.picture.stem}.txt"


def _require_free(items: Sequence[Item], folder: Path, names: tuple[str, ...]) -> None:
    yaml = folder / "data.yaml"
    if yaml.exists() and read_spec(yaml).names != names:
        raise DataError(f"{yaml} has other classes ({', '.join(read_spec(yaml).names)})", remedy="choose another --to")
    taken: set[Path] = set()
    for item in items:
        label = _targets(item, folder)[1]
        if label in taken or label.exists():
            raise DataError(f"two pictures would have the labels {label}", remedy="rename one, or choose another --to")
        taken.add(label)


def _write_item(item: Item, folder: Path, names: tuple[str, ...]) -> None:
    picture, label = _targets(item, folder)
    for path in (picture, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(item.picture, picture)
    except OSError:
        shutil.copyfile(item.picture, picture)
    class_id = np.array([names.index(name) for name in item.names], np.int32)
    label.write_text(label_lines(item.cxcywh, class_id))


def _write_yaml(folder: Path, names: Sequence[str]) -> None:
    splits = sorted(path.name for path in (folder / "images").iterdir() if path.is_dir())
    lines = [f"{split}: images/{split}" for split in splits]
    # JSON's strings are YAML's double-quoted ones.
    quoted = [f"  {number}: {_quoted(name)}" for number, name in enumerate(names)]
    (folder / "data.yaml").write_text("\n".join([*lines, "names:", *quoted]) + "\n", "utf-8")


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
