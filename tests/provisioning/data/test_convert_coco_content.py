"""COCO's JSON as people's tools write it: ids, sizes, paths, segmentations, encodings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.core.errors import DataError
from provisioning.data.convert import write_dataset
from provisioning.data.samples import load_split
from provisioning.data.spec import read_spec
from tests.provisioning.data import pictures
from tests.provisioning.data.coco import DOG, convert, read_coco, write_coco


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
