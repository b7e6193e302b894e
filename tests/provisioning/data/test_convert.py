from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.core.errors import DataError
from provisioning.data.check import check_dataset
from provisioning.data.convert import read_source, write_dataset
from provisioning.data.items import Reading
from provisioning.data.samples import load_split
from provisioning.data.spec import read_spec
from tests.provisioning.data import pictures
from tests.provisioning.data.voc import annotation, voc_object


def write_voc(folder: Path, stem: str, objects: str, *, size: tuple[int, int] = (40, 20), seed: int = 0) -> None:
    pictures.write_picture(folder / "JPEGImages" / f"{stem}.jpg", 40, 20, seed=seed)
    (folder / "Annotations").mkdir(exist_ok=True)
    (folder / "Annotations" / f"{stem}.xml").write_text(annotation(f"{stem}.jpg", objects, size=size))


def read_voc(folder: Path, *, split: str = "", val_share: float = 0.0) -> Reading:
    return read_source(folder, kind="voc", split=split, val_share=val_share, images=None)


def test_convert_voc_counts_pixels_from_one(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc", "a", voc_object("dog", (1, 1, 40, 20)) + voc_object("cat", (11, 6, 20, 15)))
    done = write_dataset(read_voc(tmp_path / "voc"), tmp_path / "out")
    assert (done.pictures, done.boxes, done.names) == (1, 2, ("cat", "dog"))
    [sample], _ = load_split(read_spec(tmp_path / "out" / "data.yaml"), "train")
    assert sample.labels.class_id.tolist() == [1, 0]
    np.testing.assert_allclose(sample.labels.cxcywh, [[0.5, 0.5, 1, 1], [0.375, 0.5, 0.25, 0.5]], atol=1e-6)


def test_convert_voc_uses_its_own_lists(tmp_path: Path) -> None:
    for number, stem in enumerate(("a", "b", "c")):
        write_voc(tmp_path, stem, voc_object("dog", (2, 2, 9, 9)), seed=number)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("b\n")
    assert {item.picture.stem: item.split for item in read_voc(tmp_path).items} == {
        "a": "train",
        "b": "val",
        "c": "train",
    }


def test_convert_voc_shares_out_by_name(tmp_path: Path) -> None:
    for number in range(40):
        write_voc(tmp_path, f"p{number}", "", seed=number)
    splits = {item.picture.stem: item.split for item in read_voc(tmp_path, val_share=0.3).items}
    assert 4 <= list(splits.values()).count("val") <= 20
    write_voc(tmp_path, "one-more", "", seed=99)
    again = {item.picture.stem: item.split for item in read_voc(tmp_path, val_share=0.3).items}
    assert {stem: again[stem] for stem in splits} == splits


def test_convert_voc_leaves_difficult_out_and_says_so(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", voc_object("dog", (2, 2, 9, 9)) + voc_object("dog", (3, 3, 9, 9), difficult=1))
    reading = read_voc(tmp_path)
    assert len(reading.items[0].names) == 1
    assert reading.notes == ("1 objects marked difficult",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("<annotation>", "not well-formed", id="cut"),
        pytest.param("<svg/>", "not a VOC annotation", id="other XML"),
        pytest.param('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "declares entities", id="entities"),
        pytest.param("<annotation><object/></annotation>", "object without a name", id="no name"),
        pytest.param("<annotation><object><name>a</name></object></annotation>", "without a bndbox", id="no box"),
        pytest.param(
            f"<annotation>{voc_object('a', (9, 9, 2, 2))}</annotation>", "degenerate box", id="corners swapped"
        ),
        pytest.param(
            f"<annotation>{voc_object('a', (9, 9, 99, 19))}</annotation>", "reaches out of the picture", id="too wide"
        ),
        pytest.param(
            "<annotation><size><width>20</width><height>40</height></size></annotation>", "is 40x20", id="size"
        ),
    ],
)
def test_convert_voc_refuses_a_bad_annotation(tmp_path: Path, text: str, message: str) -> None:
    write_voc(tmp_path / "voc", "a", voc_object("dog", (2, 2, 9, 9)))
    write_voc(tmp_path / "voc", "bad", "", seed=1)
    (tmp_path / "voc" / "Annotations" / "bad.xml").write_text(text)
    reading = read_voc(tmp_path / "voc")
    with pytest.raises(DataError, match=message):
        write_dataset(reading, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = write_dataset(reading, tmp_path / "out", skip_bad=True)
    assert (done.pictures, done.left_out) == (1, 1)


def test_convert_voc_refuses_a_folder_without_annotations(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no XML files"):
        read_voc(tmp_path)


def coco_content(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 20}, {"id": 8, "file_name": "b.png"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10]},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [10, 10, 10, 10]},
            {"id": 3, "image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 20], "iscrowd": 1},
        ],
        **changes,
    }


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    pictures.write_picture(tmp_path / "coco" / "images" / "a.png", 40, 20)
    pictures.write_picture(tmp_path / "coco" / "images" / "b.png", 40, 20, seed=1)
    (tmp_path / "coco" / "x.json").write_text(json.dumps(coco_content()))
    return tmp_path / "coco" / "x.json"


def read_coco(file: Path, split: str = "") -> Reading:
    return read_source(file, kind="coco", split=split, val_share=0, images=None)


def test_convert_coco_numbers_classes_by_category_id(coco: Path, tmp_path: Path) -> None:
    reading = read_coco(coco)
    done = write_dataset(reading, tmp_path / "out")
    assert (done.names, done.pictures, done.background, done.boxes) == (("car", "dog"), 2, 1, 2)
    assert reading.notes == ("1 annotations of crowds",)
    samples, _ = load_split(read_spec(tmp_path / "out" / "data.yaml"), "train")
    assert samples[0].labels.class_id.tolist() == [1, 0]
    np.testing.assert_allclose(samples[0].labels.cxcywh[0], [0.25, 0.25, 0.5, 0.5], atol=1e-6)


def test_convert_adds_a_second_split(coco: Path, tmp_path: Path) -> None:
    write_dataset(read_coco(coco, "train"), tmp_path / "out")
    write_dataset(read_coco(coco, "val"), tmp_path / "out")
    report = check_dataset(read_spec(tmp_path / "out" / "data.yaml"))
    assert {split: counts.pictures for split, counts in report.splits.items()} == {"train": 2, "val": 2}
    assert report.errors == 0


def test_convert_never_overwrites(coco: Path, tmp_path: Path) -> None:
    write_dataset(read_coco(coco), tmp_path / "out")
    with pytest.raises(DataError, match="is there already"):
        write_dataset(read_coco(coco), tmp_path / "out")


def test_convert_keeps_only_the_classes_asked_for(coco: Path, tmp_path: Path) -> None:
    done = write_dataset(read_coco(coco), tmp_path / "out", only=["dog"])
    assert (done.names, done.boxes, done.notes[-1]) == (("dog",), 1, "1 boxes of other classes")
    with pytest.raises(DataError, match=r"no class is called wolf; there are: car, dog"):
        write_dataset(read_coco(coco), tmp_path / "other", only=["wolf"])
    with pytest.raises(DataError, match="has other classes"):
        write_dataset(read_coco(coco, "val"), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"images": {}}, "is not COCO's JSON", id="images no list"),
        pytest.param({"categories": [{"id": 1}]}, "every category needs", id="category without name"),
        pytest.param({"categories": []}, "categories must have", id="no category"),
        pytest.param({"images": []}, "3 annotations|2 annotations", id="annotations without image"),
        pytest.param({"images": [{"id": 7, "file_name": "../../x.png"}]}, "no picture", id="path that leads out"),
        pytest.param({"images": [{"id": 7, "file_name": "a.png", "width": 1, "height": 1}]}, "says", id="size"),
        pytest.param(
            {"annotations": [{"image_id": 7, "category_id": 5, "bbox": [0, 0, 1, 1]}]}, "no category 5", id="cat"
        ),
        pytest.param({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 1]}]}, "four numbers", id="box"),
        pytest.param(
            {"annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 0, 5]}]}, "degenerate", id="no width"
        ),
    ],
)
def test_convert_coco_refuses(coco: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    coco.write_text(json.dumps(coco_content(**changes)))
    with pytest.raises(DataError, match=message):
        write_dataset(read_coco(coco), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_convert_coco_refuses_what_is_not_json(coco: Path, text: str) -> None:
    coco.write_text(text)
    with pytest.raises(DataError, match="is not"):
        read_coco(coco)


def test_convert_yolo_filters_classes(tmp_path: Path) -> None:
    file = pictures.write_dataset(
        tmp_path / "in", {"train/a": "0 .5 .5 .2 .2\n1 .5 .5 .4 .4", "val/b": "0 .1 .1 .1 .1"}
    )
    reading = read_source(file, kind="yolo", split="", val_share=0, images=None)
    done = write_dataset(reading, tmp_path / "out", only=["b"])
    assert (done.pictures, done.boxes, done.background) == (2, 1, 1)
    assert (tmp_path / "out" / "labels" / "train" / "a.txt").read_text() == "0 0.500000 0.500000 0.400000 0.400000\n"


def test_convert_yolo_takes_the_box_around_polygons_and_says_so(tmp_path: Path) -> None:
    file = pictures.write_dataset(tmp_path / "in", {"train/a": "0 .2 .2 .4 .2 .4 .6 .3 .8", "val/b": "1 .5 .5 .4 .4"})
    done = write_dataset(read_source(file, kind="yolo", split="", val_share=None, images=None), tmp_path / "out")
    assert (tmp_path / "out" / "labels" / "train" / "a.txt").read_text() == "0 0.300000 0.500000 0.200000 0.600000\n"
    assert done.remarks == ("1 polygons: the box around each is taken",)


def test_convert_yolo_splits_off_val_only_where_asked_and_there_is_none(tmp_path: Path) -> None:
    alone = pictures.write_dataset(tmp_path / "alone", {f"train/{n}": "0 .5 .5 .2 .2" for n in range(40)})
    split = pictures.write_dataset(tmp_path / "split", {"train/a": "0 .5 .5 .2 .2", "val/b": "0 .5 .5 .2 .2"})

    def splits(file: Path, share: float | None) -> Counter[str]:
        return Counter(
            item.split for item in read_source(file, kind="yolo", split="", val_share=share, images=None).items
        )

    assert splits(alone, None) == {"train": 40}
    assert 0 < splits(alone, 0.3)["val"] < 40
    assert splits(alone, 0.3) == splits(alone, 0.3)
    assert splits(split, 0.3) == {"train": 1, "val": 1}
