"""COCO's JSON as people's tools write it: splits, roots of categories, ids, sizes, paths, segmentations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.core.errors import DataError
from provisioning.data.convert import Converted, read_source, write_dataset
from provisioning.data.items import Reading
from provisioning.data.samples import load_split
from provisioning.data.spec import read_spec
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


@pytest.mark.parametrize(
    ("image", "annotation", "category"),
    [
        pytest.param({"id": "0"}, {"image_id": "0", "category_id": "1"}, {"id": "1"}, id="text"),
        pytest.param({"id": 0}, {"image_id": "0", "category_id": "1"}, {"id": 1}, id="text and numbers"),
        pytest.param({"id": 0.0}, {"image_id": 0, "category_id": 1.0}, {"id": 1}, id="floats"),
        pytest.param({"id": "f3a"}, {"image_id": "f3a", "category_id": "c"}, {"id": "c"}, id="words"),
        pytest.param({"width": 0, "height": 0}, {}, {}, id="size 0"),
        pytest.param({"width": None, "height": None}, {}, {}, id="size null"),
        pytest.param({"width": "40", "height": 20.0}, {}, {}, id="size in text"),
    ],
)
def test_coco_ids_and_sizes_as_tools_write_them(
    tmp_path: Path, image: dict[str, Any], annotation: dict[str, Any], category: dict[str, Any]
) -> None:
    file = write_coco(
        tmp_path / "x.json", ["a.jpg"], image=image, annotation=annotation, categories=[{**DOG, **category}]
    )
    assert convert(file, tmp_path / "out").boxes == 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        pytest.param({"id": None}, "its id is missing", id="no id"),
        pytest.param({"id": 0}, "2 images have its id", id="one id twice"),
        pytest.param({"id": [0]}, "its id is missing", id="a list"),
        pytest.param({"width": 0, "height": 21}, "says 0x21, but .* is 40x20", id="one side"),
        pytest.param({"file_name": "\ud800.jpg"}, "no picture", id="half a character"),
        pytest.param({"file_name": "a" * 300}, "no picture", id="longer than names may be"),
        pytest.param({"file_name": None}, "no picture None", id="no name"),
        pytest.param({"file_name": "a\0.jpg"}, "no picture", id="a zero byte"),
    ],
)
def test_coco_says_what_is_wrong_with_an_image(tmp_path: Path, image: dict[str, Any], message: str) -> None:
    file = write_coco(tmp_path / "x.json", ["a.jpg", "b.jpg"], image=image)
    with pytest.raises(DataError, match=message):
        convert(file, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        pytest.param("images\\a.jpg", ".", id="backslash, as Label Studio on Windows"),
        pytest.param("C:\\elsewhere\\images\\a.jpg", ".", id="a drive"),
        pytest.param("/elsewhere/images/a.jpg", ".", id="a path of another machine"),
        pytest.param("cam1/a.jpg", "images", id="a subfolder"),
    ],
)
def test_coco_finds_the_picture(tmp_path: Path, name: str, folder: str) -> None:
    file = write_coco(tmp_path / "in" / "x.json", [name], folder=tmp_path / "in" / folder)
    [item] = read_coco(file).items
    assert item.picture.name == "a.jpg"


def test_coco_picture_found_by_the_end_of_its_path_is_told(tmp_path: Path) -> None:
    file = write_coco(tmp_path / "in" / "x.json", ["/elsewhere/a.jpg"])
    assert "1 pictures were found by the end of their path" in read_coco(file).remarks[-1]


def test_coco_never_leaves_its_folder(tmp_path: Path) -> None:
    pictures.write_picture(tmp_path / "secret.jpg", 40, 20)
    file = write_coco(tmp_path / "deep" / "in" / "x.json", ["a.jpg"], image={"file_name": "../../secret.jpg"})
    with pytest.raises(DataError, match="no picture"):
        convert(file, tmp_path / "out")


@pytest.mark.parametrize(("more", "mark"), [((), "-"), (("cam1-a.jpg",), "--")])
def test_coco_equal_names_in_subfolders_stay_apart(tmp_path: Path, more: tuple[str, ...], mark: str) -> None:
    names = ["cam1/a.jpg", "cam2/a.jpg", "b.jpg", "b.png", *more]
    convert(write_coco(tmp_path / "in" / "x.json", names, folder=tmp_path / "in" / "images"), tmp_path / "out")
    samples, _ = load_split(read_spec(tmp_path / "out"), "train")
    written = {sample.picture.name: sample.picture.read_bytes() for sample in samples}
    renamed = [f"cam1{mark}a.jpg", f"cam2{mark}a.jpg", f"b{mark}jpg.jpg", f"b{mark}png.png", *more]
    expected = dict(zip(renamed, names, strict=True))
    assert written == {name: (tmp_path / "in" / "images" / source).read_bytes() for name, source in expected.items()}


@pytest.mark.parametrize(
    "annotation",
    [
        pytest.param({"bbox": None}, id="null"),
        pytest.param({"bbox": []}, id="empty"),
        pytest.param({"bbox": [0, 0, 0, 0]}, id="zeros"),
    ],
)
def test_coco_segmentation_without_a_box_gives_the_box_around_it(tmp_path: Path, annotation: dict[str, Any]) -> None:
    outline = {**annotation, "segmentation": [[10, 5, 30, 5, 30, 15]]}
    done = convert(write_coco(tmp_path / "x.json", ["a.jpg"], annotation=outline), tmp_path / "out")
    assert done.remarks[-1] == "1 annotations without a box: the box around their segmentation is taken"
    [sample], _ = load_split(read_spec(tmp_path / "out"), "train")
    np.testing.assert_allclose(sample.labels.cxcywh, [[0.5, 0.5, 0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        pytest.param({"bbox": [10**400, 0, 1, 1]}, "bbox must be four numbers", id="beyond all numbers"),
        pytest.param({"bbox": [float("nan"), 0, 1, 1]}, "bbox must be four numbers", id="no number"),
        pytest.param({"bbox": [0.1, 0.1, 0.3, 0.3]}, "are its numbers fractions", id="fractions"),
        pytest.param({"bbox": None, "segmentation": [[1, 2, 3]]}, "two numbers a corner", id="half a corner"),
        pytest.param({"bbox": None, "segmentation": [[1, 2, 9, 2, 99, 9]]}, "reaches out", id="outline outside"),
    ],
)
def test_coco_says_what_is_wrong_with_a_box(tmp_path: Path, annotation: dict[str, Any], message: str) -> None:
    file = write_coco(tmp_path / "x.json", ["a.jpg"], annotation=annotation)
    with pytest.raises(DataError, match=f"annotation 0: .*{message}"):
        convert(file, tmp_path / "out")


@pytest.mark.parametrize("name", [None, "", " ", "\ud83d", "a\nb", ["a"]])
def test_coco_class_without_a_usable_name_is_refused(tmp_path: Path, name: object) -> None:
    file = write_coco(tmp_path / "x.json", ["a.jpg"], categories=[{"id": 1, "name": name}])
    with pytest.raises(DataError, match=r"x\.json: every category needs an `id` and a `name`"):
        read_coco(file)


def test_coco_folder_of_pictures_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--images .*/none is no folder"):
        read_coco(write_coco(tmp_path / "x.json", ["a.jpg"]), images=tmp_path / "none")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_coco_in_the_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    file = write_coco(tmp_path / "x.json", ["a.jpg"])
    file.write_text(file.read_text(), encoding)
    assert len(read_coco(file).items) == 1


def test_coco_in_gbk_is_named(tmp_path: Path) -> None:
    file = write_coco(tmp_path / "x.json", ["a.jpg"])
    file.write_text(file.read_text().replace("dog", "狗"), "gbk")
    with pytest.raises(DataError, match=r"x\.json: line 1 is not UTF-8: .*save the file as UTF-8"):
        read_coco(file)


def test_coco_without_a_box_is_no_data_set(tmp_path: Path) -> None:
    file = write_coco(tmp_path / "x.json", ["a.jpg"], annotation={"iscrowd": 1})
    with pytest.raises(DataError, match="there is no box to write"):
        convert(file, tmp_path / "out")
    bad = write_coco(tmp_path / "y.json", ["b.jpg"], annotation={"bbox": [1]})
    with pytest.raises(DataError, match=r"there is no picture to write, the first of 1 defects: .*bbox must be"):
        write_dataset(read_coco(bad), tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()
