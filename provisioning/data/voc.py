"""Reads Pascal VOC: one XML file for each picture, as the VOC challenges, labelImg, CVAT and Roboflow write it."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import DataError
from provisioning.data.find_picture import PictureFinder, files_below, name_parts
from provisioning.data.items import Item, Reading, normalised, picture_size, pixel_box_problem, require_size
from provisioning.data.labels import Defect, Severity
from provisioning.data.voc_splits import VocSplits
from provisioning.data.xml_file import read_xml

_PICTURE_FOLDERS = ("JPEGImages", "images")


@dataclass(frozen=True, slots=True)
class _Annotation:
    """The content of an XML file; `boxes` are x1, y1, x2, y2 in pixels from 0, right and bottom edges exclusive."""

    picture: str
    size_wh: tuple[str, str]
    names: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    difficult: int


class _Bad(ValueError):
    """Why a file cannot be used."""


def read_voc(folder: Path, *, split: str, val_share: float) -> Reading:
    """Read a VOC folder: XML files at any depth, pictures beside them or in a `JPEGImages` or `images` folder.

    Splits come from `ImageSets/Main/{train,val,test}.txt` and from folders called train, valid or test. Without these,
    a share of the pictures becomes val, by a hash of the name: adding pictures does not change the split of others.
    Objects marked difficult are left out. If there is a list for train, annotations in no list are left out, too.

    Args:
        folder: holds the XML files.
        split: of all pictures; empty uses the folder's own splits.
        val_share: share (0..1) that becomes val if the folder has no splits.

    Raises:
        DataError: there is no XML file, a list cannot be read, or a list names no annotation.
    """
    files = sorted(files_below(folder, ".xml"))
    if not files:
        raise DataError(f"{folder} holds no XML files", remedy="name the folder that labelImg or VOC wrote")
    splits = VocSplits(folder, files, split=split, val_share=val_share)
    finder = PictureFinder()
    owners: dict[Path, Path] = {}
    items: list[Item] = []
    defects: list[Defect] = []
    difficult = unlisted = 0
    for file in files:
        try:
            if not (of_file := splits.of(file)):
                unlisted += 1
                continue
            annotation = _parse(file)
            item = _item(annotation, of_file, _find_picture(file, annotation.picture, folder, finder))
            if (owner := owners.setdefault(item.picture, file)) != file:
                raise _Bad(f"annotates {item.picture}, as {owner} does")
        except (ValueError, DataError) as exc:
            defects.append(Defect(file, 0, Severity.ERROR, "unusable annotation", str(exc)))
            continue
        difficult += annotation.difficult
        items.append(item)
    splits.require_matched()
    names = tuple(sorted({name for item in items for name in item.names}))
    notes = [f"{difficult} objects marked difficult"] * bool(difficult)
    notes += [f"{unlisted} annotations that no list in ImageSets names"] * bool(unlisted)
    return Reading(tuple(items), names, tuple(defects), tuple(notes), (splits.remark,), len(defects))


def _parse(file: Path) -> _Annotation:
    root = read_xml(file)
    if root.tag != "annotation":
        raise _Bad(f"not a VOC annotation: its root is <{root.tag}>")
    objects = root.findall("object")
    plain = [element for element in objects if (element.findtext("difficult") or "0").strip() != "1"]
    return _Annotation(
        picture=(root.findtext("filename") or "").strip(),
        size_wh=(root.findtext("size/width") or "", root.findtext("size/height") or ""),
        names=tuple(_name(element) for element in plain),
        boxes=tuple(_box(element) for element in plain),
        difficult=len(objects) - len(plain),
    )


def _name(element: ET.Element) -> str:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise _Bad("an object without a name")
    if not name.isprintable():
        raise _Bad(f"an object's name is {name!r}, which cannot be printed")
    return name


def _box(element: ET.Element) -> tuple[float, float, float, float]:
    """VOC counts pixels from 1 and includes the last one."""
    box = element.find("bndbox")
    if box is None:
        raise _Bad("an object without a bndbox")
    return _number(box, "xmin") - 1, _number(box, "ymin") - 1, _number(box, "xmax"), _number(box, "ymax")


def _number(element: ET.Element, tag: str) -> float:
    text = (element.findtext(tag) or "").strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _Bad(f"{tag} must be a number, got {text!r}")
    return number


def _item(annotation: _Annotation, split: str, picture: Path) -> Item:
    size = picture_size(picture)
    require_size(annotation.size_wh, picture, size)
    problems = [problem for box in annotation.boxes if (problem := pixel_box_problem(box, size))]
    if problems:
        raise _Bad("; ".join(problems))
    return Item(picture, split, annotation.names, normalised(list(annotation.boxes), size))


def _find_picture(file: Path, name: str, source: Path, finder: PictureFinder) -> Path:
    """The picture by its name in the annotation, by the last part of that, or by the XML file's name."""
    last = name_parts(name)[-1:]
    for wanted in dict.fromkeys([name, *last, file.stem]):
        for folder, inner in _places(file, source, flat=len(name_parts(wanted)) > 1):
            path = finder.find("/".join([*inner, wanted]), [folder]) if wanted else None
            if path is not None:
                return Path(os.path.abspath(path))
    raise _Bad(f"no picture {name or file.stem} beside it, in JPEGImages or in images")


def _places(file: Path, source: Path, *, flat: bool) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Where pictures may be: a folder, and names of folders inside it, whose case may differ.

    First the annotation's folder, and `images` or `JPEGImages` in it. Then these folders in every folder above, up
    to the one above the source, with the same subfolders as the annotation: `images/cam1` for `Annotations/cam1`. With
    `flat`, also without these subfolders.
    """
    yield file.parent, ()
    yield from ((file.parent, (name,)) for name in _PICTURE_FOLDERS)
    parts = file.parent.relative_to(source).parts
    above = file.parent
    for depth in range(len(parts) + 1):
        above = above.resolve().parent if above == source else above.parent
        inner = parts[len(parts) - depth :]
        yield from ((above, (name, *inner)) for name in _PICTURE_FOLDERS)
        if inner and flat:
            yield from ((above, (name,)) for name in _PICTURE_FOLDERS)
