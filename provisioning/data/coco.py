"""Reads COCO's JSON of instances: images, annotations with boxes in pixels, categories."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edged.core.errors import DataError
from edged.core.types import Floats
from provisioning.data.coco_files import Classes, CocoFile, classes_of, id_of, open_coco
from provisioning.data.find_picture import PictureFinder
from provisioning.data.items import Item, Reading, normalised, picture_size, pixel_box_problem, require_size
from provisioning.data.labels import Defect, Severity
from provisioning.data.outlines import Box, box_around, is_box
from provisioning.data.spec import SPLITS
from provisioning.data.split_names import split_words

_SHOWN = 10


def read_coco(source: Path, *, images: Path | None, split: str) -> Reading:
    """Read COCO's JSON. Annotations of crowds are left out, and so is a category that only groups the others.

    Args:
        source: one JSON file, or a folder with one for each split.
        images: folder of the pictures. By default the file's own folder, `images` in or beside it, or a folder there
            with a part of the file's name (`val2017` of `instances_val2017.json`).
        split: of all pictures; empty uses the names of files and folders, and train if these say none.

    Raises:
        DataError: it is not COCO's JSON, or `images` is no folder.
    """
    if images is not None and not images.is_dir():
        raise DataError(f"--images {images} is no folder")
    files, remarks = open_coco(source, split=split)
    classes = classes_of(files)
    work = _Work(classes)
    for file in files:
        taken = file.split or SPLITS[0]
        if not split:
            why = (
                "as it or its folder is called so" if file.split else "for its name says no split; --split says another"
            )
            remarks.append(f"{file.path} is taken as {taken}, {why}")
        work.read(file, taken, _folders(file.path, images, taken))
    notes = [f"{work.crowds} annotations of crowds"] * bool(work.crowds)
    notes += [f"category {name!r}: no annotation, and only the parent of the others" for name in classes.roots]
    said = (*remarks, *work.remarks())
    return Reading(tuple(work.items), classes.names, tuple(work.defects), tuple(notes), said, work.left_out)


def _folders(file: Path, images: Path | None, split: str) -> list[Path]:
    bases = [images] if images else [file.parent, file.parent.parent]
    last = file.stem.rpartition("_")[2]  # CVAT: images/default of instances_default.json
    words = dict.fromkeys([*split_words(file.stem), *split_words(split), last])
    own = [base / inner / word for base in bases for word in words for inner in ("", "images")]
    return [*own, images] if images else [*own, bases[0], bases[0] / "images", bases[1] / "images", bases[1]]


@dataclass(slots=True)
class _Work:
    """What was read so far, from all files."""

    classes: Classes
    items: list[Item] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    crowds: int = 0
    left_out: int = 0
    _outlines: int = 0
    _ends: list[str] = field(default_factory=list)
    _owners: dict[Path, str] = field(default_factory=dict)
    _finder: PictureFinder = field(default_factory=PictureFinder)

    def read(self, file: CocoFile, split: str, folders: Sequence[Path]) -> None:
        by_image, astray = self._by_image(file)
        known = Counter(_id_or_nothing(image.get("id")) for image in file.content["images"])
        for image in file.content["images"]:
            key = _id_or_nothing(image.get("id"))
            where = f"image {image.get('id')!r} ({image.get('file_name')!r})"
            try:
                _require_one(known[key], key)
                picture = self._picture(image.get("file_name"), folders, owner=f"{where} of {file.path}")
                names, boxes = self._boxes(image, by_image.get(key, ()), self.classes.by_file[file.path], picture)
                self.items.append(Item(picture, split, names, boxes))
            except (ValueError, DataError) as exc:
                self.defects.append(Defect(file.path, 0, Severity.ERROR, "unusable image", f"{where}: {exc}"))
                self.left_out += 1
        astray += sum(len(found) for key, found in by_image.items() if key not in known)
        if astray:
            message = f"{astray} annotations of images that the file does not list"
            self.defects.append(Defect(file.path, 0, Severity.ERROR, "annotations without image", message))

    def remarks(self) -> list[str]:
        """Remarks for the user on how the files were read."""
        unused = ", ".join(self.classes.unused[:_SHOWN]) + ", ..." * (len(self.classes.unused) > _SHOWN)
        found = [f"{len(self.classes.unused)} classes have no annotation: {unused}"] * bool(unused)
        if self._outlines:
            found.append(f"{self._outlines} annotations without a box: the box around their segmentation is taken")
        if self._ends:
            found.append(f"{len(self._ends)} pictures were found by the end of their path, the first: {self._ends[0]}")
        return found

    def _by_image(self, file: CocoFile) -> tuple[dict[str, list[Mapping[str, Any]]], int]:
        """Annotations by image id, without crowds; and the number of those without a valid image id."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        astray = 0
        for annotation in file.content["annotations"]:
            if annotation.get("iscrowd") not in (None, 0, "0"):
                self.crowds += 1
            elif key := _id_or_nothing(annotation.get("image_id")):
                found.setdefault(key, []).append(annotation)
            else:
                astray += 1
        return found, astray

    def _picture(self, said: object, folders: Sequence[Path], *, owner: str) -> Path:
        name = said if isinstance(said, str) else ""
        path = self._finder.find(name, folders)
        if path is None and (path := self._finder.find_end(name, folders)) is not None:
            self._ends.append(f"{name!r} is {path}")
        if path is None:
            there = [str(folder) for folder in folders if folder.is_dir()]
            raise ValueError(f"no picture {said!r} in {', '.join(there)}")
        path = Path(os.path.abspath(path))
        if (first := self._owners.setdefault(path, owner)) != owner:
            raise ValueError(f"{path} is the picture of {first}, too")
        return path

    def _boxes(
        self,
        image: Mapping[str, Any],
        annotations: Sequence[Mapping[str, Any]],
        categories: Mapping[str, str],
        picture: Path,
    ) -> tuple[tuple[str, ...], Floats]:
        size = picture_size(picture)
        require_size((image.get("width"), image.get("height")), picture, size)
        names, boxes = [], []
        for annotation in annotations:
            try:
                names.append(_name(annotation, categories))
                boxes.append(self._box(annotation, size))
            except ValueError as exc:
                raise ValueError(f"annotation {annotation.get('id')!r}: {exc}") from exc
        return tuple(names), normalised(boxes, size)

    def _box(self, annotation: Mapping[str, Any], size_wh: tuple[int, int]) -> Box:
        """COCO's x, y, width, height as corners (x1, y1, x2, y2); without a box, the one around the segmentation."""
        box, segmentation = annotation.get("bbox"), annotation.get("segmentation")
        if segmentation and (not box or (is_box(box) and not (box[2] or box[3]))):
            corners = box_around(segmentation)
            self._outlines += 1
        elif is_box(box):
            x, y, width, height = (float(value) for value in box or ())
            corners = x, y, x + width, y + height
        else:
            raise ValueError(f"bbox must be four numbers, got {str(box)[:80]}")
        if problem := pixel_box_problem(corners, size_wh):
            raise ValueError(problem)
        return corners


def _name(annotation: Mapping[str, Any], categories: Mapping[str, str]) -> str:
    key = _id_or_nothing(annotation.get("category_id"))
    if key not in categories:
        raise ValueError(f"no category {annotation.get('category_id')!r}")
    return categories[key]


def _require_one(count: int, key: str) -> None:
    if not key or count > 1:
        raise ValueError(f"{count} images have its id" if key else "its id is missing")


def _id_or_nothing(value: object) -> str:
    try:
        return id_of(value)
    except ValueError:
        return ""
