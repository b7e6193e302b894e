"""COCO's JSON of instances: images, annotations with boxes in pixels, categories."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edged.core.errors import DataError
from provisioning.data.items import Item, Reading, normalised, picture_size, pixel_box_problem
from provisioning.data.labels import Defect, Severity

MAX_JSON_BYTES = 2 << 30
_BOX_NUMBERS = 4


def read_coco(file: Path, *, images: Path | None, split: str) -> Reading:
    """Read one JSON file, which is one split. Annotations of crowds are left out.

    Args:
        file: the JSON.
        images: folder of the pictures; by default that of the file, or `images` in it.
        split: what to call it.

    Raises:
        DataError: not COCO's JSON.
    """
    content = _load(file)
    categories = _categories(content["categories"], file)
    by_image: dict[object, list[Mapping[str, Any]]] = {}
    crowds = 0
    for annotation in content["annotations"]:
        if annotation.get("iscrowd"):
            crowds += 1
        else:
            by_image.setdefault(annotation.get("image_id"), []).append(annotation)
    items: list[Item] = []
    defects: list[Defect] = []
    folders = [images] if images else [file.parent, file.parent / "images", file.parent.parent / "images"]
    for image in content["images"]:
        try:
            items.append(_item(image, by_image.pop(image.get("id"), []), categories, folders, split))
        except (ValueError, DataError) as exc:
            where = f"image {image.get('id')!r} ({image.get('file_name')!r})"
            defects.append(Defect(file, 0, Severity.ERROR, "unusable image", f"{where}: {exc}"))
    if by_image:
        message = f"{sum(map(len, by_image.values()))} annotations of images that the file does not list"
        defects.append(Defect(file, 0, Severity.ERROR, "annotations without image", message))
    notes = (f"{crowds} annotations of crowds",) if crowds else ()
    return Reading(tuple(items), tuple(categories.values()), tuple(defects), notes)


def _load(file: Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{file} is larger than {MAX_JSON_BYTES} bytes")
        content = json.loads(file.read_bytes())
    except OSError as exc:
        raise DataError(f"{file} cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{file} is not JSON: {exc}") from exc
    keys = ("images", "annotations", "categories")
    whole = isinstance(content, dict) and all(
        isinstance(content.get(key), list) and all(isinstance(entry, dict) for entry in content[key]) for key in keys
    )
    if not whole:
        raise DataError(f"{file} is not COCO's JSON: it needs the lists {', '.join(keys)}")
    return content  # type: ignore[no-any-return]


def _categories(entries: Sequence[Mapping[str, Any]], file: Path) -> dict[int, str]:
    """Category id -> name, by rising id: the order becomes the class ids."""
    try:
        found = {int(entry["id"]): str(entry["name"]).strip() for entry in entries}
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{file}: every category needs a number `id` and a `name`") from exc
    if not found or not all(found.values()) or len(set(found.values())) != len(entries):
        raise DataError(f"{file}: categories must have different ids and names")
    return dict(sorted(found.items()))


def _item(
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[int, str],
    folders: Sequence[Path],
    split: str,
) -> Item:
    picture = _find(str(image.get("file_name", "")), folders)
    size = picture_size(picture)
    said = image.get("width", size[0]), image.get("height", size[1])
    if said != size:
        raise ValueError(f"says {said}, but the picture is {size}")
    names, boxes = [], []
    for annotation in annotations:
        if annotation.get("category_id") not in categories:
            raise ValueError(f"annotation {annotation.get('id')!r}: no category {annotation.get('category_id')!r}")
        box = _box(annotation)
        if problem := pixel_box_problem(box, size):
            raise ValueError(f"annotation {annotation.get('id')!r}: {problem}")
        names.append(categories[annotation["category_id"]])
        boxes.append(box)
    return Item(picture, split, tuple(names), normalised(boxes, size))


def _box(annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """COCO's x, y, width, height -> corners."""
    box = annotation.get("bbox")
    sound = (
        isinstance(box, list)
        and len(box) == _BOX_NUMBERS
        and all(isinstance(value, (int, float)) and math.isfinite(value) for value in box)
    )
    if not isinstance(box, list) or not sound:
        raise ValueError(f"annotation {annotation.get('id')!r}: bbox must be four numbers, got {box!r}")
    x, y, width, height = (float(value) for value in box)
    return x, y, x + width, y + height


def _find(name: str, folders: Sequence[Path]) -> Path:
    """The picture; a name that leads out of the folder is refused."""
    for folder in folders:
        path = (folder / name).resolve()
        if name and path.is_file() and path.is_relative_to(folder.resolve()):
            return path
    raise ValueError(f"no picture {name!r} in {', '.join(map(str, folders))}")
