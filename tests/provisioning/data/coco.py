"""COCO files as tests write and read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from provisioning.data.convert import Converted, read_source, write_dataset
from provisioning.data.items import Reading
from tests.provisioning.data import pictures

DOG = {"id": 1, "name": "dog"}


def write_coco(
    file: Path,
    names: Sequence[str],
    *,
    folder: Path | None = None,
    categories: Sequence[Mapping[str, Any]] = (DOG,),
    image: Mapping[str, Any] | None = None,
    annotation: Mapping[str, Any] | None = None,
) -> Path:
    """A file with one box a picture; `image` and `annotation` change its entries."""
    used = categories[-1]["id"]
    content = {
        "images": [
            {"id": number, "file_name": name, "width": 40, "height": 20, **(image or {})}
            for number, name in enumerate(names)
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": used, "bbox": [0, 0, 20, 10], **(annotation or {})}
            for number in range(len(names))
        ],
        "categories": categories,
    }
    for number, name in enumerate(names):
        plain = name.replace("\\", "/").removeprefix("C:/elsewhere/").removeprefix("/elsewhere/")
        pictures.write_picture((folder or file.parent) / plain, 40, 20, seed=number + len(str(file)))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def read_coco(source: Path, *, split: str = "", images: Path | None = None) -> Reading:
    return read_source(source, kind="coco", split=split, val_share=0, images=images)


def convert(source: Path, folder: Path) -> Converted:
    return write_dataset(read_coco(source), folder)


def splits_of(reading: Reading) -> dict[str, str]:
    return {item.picture.stem: item.split for item in reading.items}
