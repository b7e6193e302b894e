"""COCO's JSON as people's tools write it: splits, roots of categories, ids, sizes, paths, segmentations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edged.core.errors import DataError
from provisioning.data.samples import load_split
from provisioning.data.spec import read_spec
from tests.provisioning.data.coco import convert, read_coco, splits_of, write_coco


def test_coco_folder_of_roboflow_keeps_its_splits(tmp_path: Path) -> None:
    for folder in ("train", "valid", "test"):
        write_coco(tmp_path / folder / "_annotations.coco.json", [f"{folder}.jpg"])
    assert splits_of(read_coco(tmp_path)) == {"train": "train", "valid": "val", "test": "test"}
    reading = read_coco(tmp_path / "valid" / "_annotations.coco.json")
    assert splits_of(reading) == {"valid": "val"}
    assert "_annotations.coco.json is taken as val" in reading.remarks[0]


@pytest.mark.parametrize("inner", ["", "images"])
def test_coco_folder_of_coco_itself(tmp_path: Path, inner: str) -> None:
    for split in ("train", "val"):
        folder = tmp_path / inner / f"{split}2017"
        write_coco(tmp_path / "annotations" / f"instances_{split}2017.json", ["a.jpg"], folder=folder)
        write_coco(tmp_path / "annotations" / f"person_keypoints_{split}2017.json", [])
    for source in (tmp_path, tmp_path / "annotations"):
        reading = read_coco(source)
        assert [(item.picture.parent.name, item.split) for item in reading.items] == [
            ("train2017", "train"),
            ("val2017", "val"),
        ]


def test_coco_folder_of_cvat(tmp_path: Path) -> None:
    write_coco(tmp_path / "annotations" / "instances_default.json", ["a.jpg"], folder=tmp_path / "images" / "default")
    assert splits_of(read_coco(tmp_path)) == {"a": "train"}


def test_coco_file_says_its_split_by_its_name_unless_told_otherwise(tmp_path: Path) -> None:
    file = write_coco(tmp_path / "instances_val2017.json", ["a.jpg"])
    assert splits_of(read_coco(file)) == {"a": "val"}
    assert splits_of(read_coco(file, split="test")) == {"a": "test"}
    plain = write_coco(tmp_path / "result.json", ["b.jpg"])
    assert splits_of(read_coco(plain)) == {"b": "train"}
    assert "taken as train, for its name says no split" in read_coco(plain).remarks[0]


def test_coco_folder_in_which_one_file_says_no_split_is_refused(tmp_path: Path) -> None:
    write_coco(tmp_path / "train.json", ["a.jpg"])
    write_coco(tmp_path / "more.json", ["b.jpg"])
    with pytest.raises(DataError, match=r"which split is .*more\.json"):
        read_coco(tmp_path)


def test_coco_folder_without_coco(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no JSON files"):
        read_coco(tmp_path)
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(DataError, match=r"notes\.json is not COCO's JSON"):
        read_coco(tmp_path)
    write_coco(tmp_path / "result.json", ["a.jpg"])
    assert "notes.json is not COCO's JSON" in read_coco(tmp_path).remarks[0]


def test_coco_one_picture_in_two_splits_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_coco(tmp_path / "annotations" / f"{split}.json", ["a.jpg"], folder=tmp_path / "images")
    with pytest.raises(DataError, match=r"a\.jpg is the picture of image 0 \('a\.jpg'\) of .*train\.json, too"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    "categories",
    [
        pytest.param(
            [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 1, "name": "dog", "supercategory": "pets"}],
            id="parent of the other",
        ),
        pytest.param(
            [{"id": 0, "name": "dog", "supercategory": "none"}, {"id": 1, "name": "dog", "supercategory": "dog"}],
            id="called as the other",
        ),
        pytest.param(
            [{"id": 0, "name": "x-1", "supercategory": "none"}, {"id": 1, "name": "dog", "supercategory": "pets"}],
            id="renamed",
        ),
        pytest.param(
            [{"id": "7", "name": "pets", "supercategory": ""}, {"id": "8", "name": "dog", "supercategory": "Pets"}],
            id="another number",
        ),
    ],
)
def test_coco_root_category_is_left_out(tmp_path: Path, categories: list[dict[str, Any]]) -> None:
    for split in ("train", "valid"):
        write_coco(tmp_path / split / "_annotations.coco.json", [f"{split}.jpg"], categories=categories)
    done = convert(tmp_path, tmp_path / "out")
    root = categories[0]["name"]
    assert done.names == ("dog",)
    assert done.notes == (f"category {root!r}: no annotation, and only the parent of the others",)
    assert load_split(read_spec(tmp_path / "out"), "train")[0][0].labels.class_id.tolist() == [0]


@pytest.mark.parametrize(
    "categories",
    [
        pytest.param(
            [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 2, "name": "car", "supercategory": "x"}],
            id="COCO's person without a person",
        ),
        pytest.param([{"id": 0, "name": "person"}, {"id": 2, "name": "car"}], id="nothing of parents"),
    ],
)
def test_coco_class_without_annotation_stays_and_is_told(tmp_path: Path, categories: list[dict[str, Any]]) -> None:
    done = convert(write_coco(tmp_path / "x.json", ["a.jpg"], categories=categories), tmp_path / "out")
    assert done.names == ("person", "car")
    assert done.remarks[-1] == "1 classes have no annotation: person"


def test_coco_parent_with_annotations_is_a_class(tmp_path: Path) -> None:
    categories = [{"id": 2, "name": "car", "supercategory": "vehicle"}, {"id": 1, "name": "vehicle"}]
    done = convert(write_coco(tmp_path / "x.json", ["a.jpg"], categories=categories), tmp_path / "out")
    assert (done.names, done.notes) == (("vehicle", "car"), ())


def test_coco_files_with_other_ids_share_their_classes(tmp_path: Path) -> None:
    cat, dog = {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}
    write_coco(tmp_path / "train.json", ["a.jpg"], categories=[cat, dog])
    write_coco(tmp_path / "val.json", ["b.jpg"], categories=[{"id": 1, "name": "dog"}])
    assert convert(tmp_path, tmp_path / "out").names == ("cat", "dog")
    for split in ("train", "val"):
        assert load_split(read_spec(tmp_path / "out"), split)[0][0].labels.class_id.tolist() == [1]
