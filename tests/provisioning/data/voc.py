"""Annotations as VOC's tools write them, for the tests."""

from __future__ import annotations

from pathlib import Path

from tests.provisioning.data import pictures

OBJECT = (
    "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
    "<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
)


def voc_object(name: str, box: tuple[float, float, float, float], *, difficult: int = 0) -> str:
    """One object; the box in VOC's pixels."""
    x1, y1, x2, y2 = box
    return OBJECT.format(name=name, difficult=difficult, x1=x1, y1=y1, x2=x2, y2=y2)


def annotation(filename: str, objects: str = "", *, size: tuple[object, object] = (40, 20)) -> str:
    """The text of a file."""
    return (
        f"<annotation><filename>{filename}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"{objects}</annotation>"
    )


def write_beside(folder: Path, stem: str, *, seed: int = 0, name: str = "dog") -> None:
    """A picture of 40x20 pixels with its annotation beside it, as labelImg and Roboflow write it."""
    pictures.write_picture(folder / f"{stem}.jpg", 40, 20, seed=seed)
    (folder / f"{stem}.xml").write_text(annotation(f"{stem}.jpg", voc_object(name, (1, 1, 20, 10))))
