"""Converts data sets to YOLO format. Everything is read and checked before anything is written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from edged.core.errors import DataError, EdgedError
from edged.core.types import Floats
from provisioning.data.coco import read_coco
from provisioning.data.items import Item, Reading
from provisioning.data.labels import Severity
from provisioning.data.spec import SPLITS, read_spec
from provisioning.data.voc import read_voc
from provisioning.data.written import plan, write_names
from provisioning.data.yolo import read_yolo

FORMATS = ("voc", "coco", "yolo")
VAL_SHARE = 0.1  # default share of pictures that become val, for a VOC folder without splits
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of a conversion.

    Attributes:
        pictures, boxes: number written.
        background: number of written pictures without a box.
        splits: number of pictures of each split.
        left_out: number of pictures that were not written because of defects.
        defects: one line for each defect.
        names: classes of the new data set, by class id.
        notes: what was left out on purpose (difficult objects, crowds, other classes), and how much.
        remarks: for the user, on how the data set was read and written.
    """

    pictures: int
    boxes: int
    background: int
    splits: Mapping[str, int]
    left_out: int
    defects: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]


def read_source(source: Path, *, kind: str, split: str, val_share: float | None, images: Path | None) -> Reading:
    """Read a data set of another format.

    Args:
        source: a folder (voc), a JSON file or a folder of them (coco), or what `read_spec` takes (yolo).
        kind: one of `FORMATS`.
        split: of all pictures of a VOC or COCO source; empty uses the source's own splits.
        val_share: share (0..1) that becomes val, of a VOC folder without splits (None: `VAL_SHARE`) or of a YOLO data
            set with only train (None: 0).
        images: folder of the pictures of a COCO source, if they are not beside it.

    Raises:
        DataError: the source is not of this format, or cannot be read.
    """
    if kind == "voc":
        return read_voc(source, split=split, val_share=VAL_SHARE if val_share is None else val_share)
    if kind == "coco":
        return read_coco(source, images=images, split=split)
    return read_yolo(source, val_share=val_share or 0.0)


def write_dataset(
    reading: Reading, folder: Path, *, only: Sequence[str] = (), skip_bad: bool = False, progress: bool = False
) -> Converted:
    """Write a data set in YOLO format. Pictures are hard-linked if possible, otherwise copied.

    Args:
        reading: from `read_source`.
        folder: if it holds an earlier conversion with the same classes, pictures are added to it.
        only: class names to keep, in this order; empty for all.
        skip_bad: leave out pictures with defects; otherwise a defect is an error.
        progress: show a bar on a terminal.

    Raises:
        DataError: there are defects, there is nothing to write, a class does not exist, or `folder` has files of the
            same name or other classes.
        EdgedError: `folder` cannot be written.
    """
    lines = [re.sub(r"[\r\n]+", " ", str(each)) for each in reading.defects if each.severity is Severity.ERROR]
    if lines and not skip_bad:
        more = [f"... and {len(lines) - _SHOWN} more"] * (len(lines) > _SHOWN)
        summary = f"{len(lines)} defects, nothing was written; mend them, or leave these pictures out with --skip-bad"
        raise DataError("\n".join([summary, *lines[:_SHOWN], *more]))
    names = _names(reading, only, lines)
    items = [_only(item, names) for item in reading.items]
    dropped = sum(map(len, (item.names for item in reading.items))) - sum(len(item.names) for item in items)
    yaml = folder / "data.yaml"
    if yaml.exists() and read_spec(yaml).names != names:
        raise DataError(f"{yaml} has other classes ({', '.join(read_spec(yaml).names)})", remedy="choose another --to")
    planned, renamed = plan(items, folder)
    try:
        for each in tqdm(planned, unit="picture", disable=None if progress else True):
            each.write(names)
        write_names(folder, names)
    except OSError as exc:
        raise EdgedError(f"{folder} cannot be written: {exc}", remedy="free some space or choose another --to") from exc
    return Converted(
        pictures=len(items),
        boxes=sum(len(item.names) for item in items),
        background=sum(not item.names for item in items),
        splits=dict(sorted(Counter(item.split for item in items).items(), key=lambda each: SPLITS.index(each[0]))),
        left_out=reading.left_out,
        defects=tuple(lines),
        names=names,
        notes=(*reading.notes, f"{dropped} boxes of other classes") if dropped else reading.notes,
        remarks=(*reading.remarks, *renamed),
    )


def _names(reading: Reading, only: Sequence[str], defects: Sequence[str]) -> tuple[str, ...]:
    """The classes to write.

    Raises:
        DataError: one does not exist, or there is nothing to write.
    """
    if not reading.items or not any(item.names for item in reading.items):
        what = "box" if reading.items else "picture"
        first = f", the first of {len(defects)} defects: {defects[0]}" if defects else ""
        raise DataError(f"there is no {what} to write{first}")
    unknown = [name for name in only if name not in reading.names]
    if unknown:
        raise DataError(f"no class is called {', '.join(unknown)}", remedy=f"there are: {', '.join(reading.names)}")
    return tuple(dict.fromkeys(only)) or reading.names


def _only(item: Item, names: Sequence[str]) -> Item:
    kept = [place for place, name in enumerate(item.names) if name in names]
    boxes: Floats = item.cxcywh[kept].reshape(-1, 4)
    return Item(item.picture, item.split, tuple(item.names[place] for place in kept), boxes)
