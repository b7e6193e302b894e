"""Pascal VOC: one XML file a picture, as the VOC challenges and labelImg write it."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import DataError
from provisioning.data.items import Item, Reading, normalised, picture_size, pixel_box_problem
from provisioning.data.labels import Defect, Severity
from provisioning.data.pictures import FORMATS

MAX_XML_BYTES = 4 << 20
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class _Annotation:
    """What one XML file says; `boxes` are pixels from 0, right and bottom edges exclusive."""

    picture: str
    size_wh: tuple[int, int] | None
    names: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    difficult: int


class _Bad(ValueError):
    """One reason why a file cannot be used."""


def read_voc(folder: Path, *, val_share: float) -> Reading:
    """Read a VOC folder: XML files anywhere below it, pictures beside them or in a sibling `JPEGImages` or `images`.

    Splits come from `ImageSets/Main/{train,val,test}.txt`; without these, a share of the pictures becomes val, chosen
    by a hash of the name, so that adding pictures moves none of the others. Objects marked difficult are left out.

    Raises:
        DataError: no XML file there.
    """
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise DataError(f"{folder} holds no XML files", remedy="name the folder that labelImg or VOC wrote")
    lists = _listed_splits(folder)
    items: list[Item] = []
    defects: list[Defect] = []
    difficult = 0
    for file in files:
        try:
            annotation = _parse(file)
            item = _item(file, annotation, _split(file.stem, lists, val_share))
        except (_Bad, DataError) as exc:
            defects.append(Defect(file, 0, Severity.ERROR, "unusable annotation", str(exc)))
            continue
        difficult += annotation.difficult
        items.append(item)
    names = tuple(sorted({name for item in items for name in item.names}))
    notes = (f"{difficult} objects marked difficult",) if difficult else ()
    return Reading(tuple(items), names, tuple(defects), notes)


def _listed_splits(folder: Path) -> dict[str, str]:
    """Picture name -> split."""
    found = {}
    for split in _SPLITS:
        for path in sorted(folder.rglob(f"ImageSets/Main/{split}.txt")):
            found.update({line.split()[0]: split for line in path.read_text("utf-8").splitlines() if line.strip()})
    return found


def _split(stem: str, lists: dict[str, str], val_share: float) -> str:
    if lists:
        return lists.get(stem, "train")
    place = int.from_bytes(hashlib.blake2b(stem.encode(), digest_size=4).digest(), "big") / 2**32
    return "val" if place < val_share else "train"


def _parse(file: Path) -> _Annotation:
    content = file.read_bytes() if file.stat().st_size <= MAX_XML_BYTES else b""
    if not content:
        raise _Bad(f"empty, or larger than {MAX_XML_BYTES} bytes")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise _Bad("declares entities, which no annotation needs; refused")
    try:
        root = ET.fromstring(content)  # noqa: S314  # entities, the only danger in it, are refused above
    except ET.ParseError as exc:
        raise _Bad(f"not well-formed XML: {exc}") from exc
    if root.tag != "annotation":
        raise _Bad(f"not a VOC annotation: its root is <{root.tag}>")
    objects = root.findall("object")
    plain = [element for element in objects if (element.findtext("difficult") or "0").strip() != "1"]
    size = root.find("size")
    return _Annotation(
        picture=(root.findtext("filename") or "").strip(),
        size_wh=None if size is None else (int(_number(size, "width")), int(_number(size, "height"))),
        names=tuple(_name(element) for element in plain),
        boxes=tuple(_box(element) for element in plain),
        difficult=len(objects) - len(plain),
    )


def _name(element: ET.Element) -> str:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise _Bad("an object without a name")
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
        return float(text)
    except ValueError:
        raise _Bad(f"{tag} must be a number, got {text!r}") from None


def _item(file: Path, annotation: _Annotation, split: str) -> Item:
    picture = _find_picture(file, annotation.picture)
    size = picture_size(picture)
    if annotation.size_wh not in (None, (0, 0), size):
        raise _Bad(f"says {annotation.size_wh}, but {picture.name} is {size}")
    problems = [problem for box in annotation.boxes if (problem := pixel_box_problem(box, size))]
    if problems:
        raise _Bad("; ".join(problems))
    return Item(picture, split, annotation.names, normalised(list(annotation.boxes), size))


def _find_picture(file: Path, name: str) -> Path:
    """By the name in the annotation, else by the annotation's own; only its last part counts."""
    folders = [file.parent, file.parent.parent / "JPEGImages", file.parent.parent / "images", file.parent / "images"]
    candidates = [Path(name).name] if name else []
    candidates += [file.stem + suffix for suffix in FORMATS]
    for folder in folders:
        for candidate in candidates:
            if (folder / candidate).is_file():
                return folder / candidate
    raise _Bad(f"no picture {candidates[0]} beside it, in JPEGImages or in images")
