"""VOC folders as people's tools write them: splits, encodings, names of pictures."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import numpy as np
import pytest

from edged.core.errors import DataError
from provisioning.data.convert import read_source, write_dataset
from provisioning.data.items import Reading
from provisioning.data.samples import load_split
from provisioning.data.spec import read_spec
from tests.provisioning.data import pictures
from tests.provisioning.data.voc import annotation, voc_object, write_beside

BOX = (1, 1, 20, 10)


def read_voc(folder: Path, *, split: str = "", val_share: float = 0.5) -> Reading:
    return read_source(folder, kind="voc", split=split, val_share=val_share, images=None)


def splits_of(reading: Reading) -> dict[str, str]:
    return {item.picture.stem: item.split for item in reading.items}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        pytest.param("train", "valid", "test", id="Roboflow"),
        pytest.param("Train", "Val", "Test", id="capitals"),
        pytest.param("training", "validation", "testing", id="long"),
        pytest.param("train2017", "val2017", "test2017", id="years"),
        pytest.param("train_set", "val_images", "test-data", id="with a word beside"),
        pytest.param("Annotations/train", "Annotations/val", "Annotations/test", id="below Annotations"),
    ],
)
def test_voc_keeps_the_splits_of_folders(tmp_path: Path, train: str, val: str, test: str) -> None:
    for folder in (train, val, test):
        for number in range(8):
            write_beside(tmp_path / "set" / folder, f"{number}-{Path(folder).name}", seed=number)
    reading = read_voc(tmp_path / "set")
    expected = {Path(train).name: "train", Path(val).name: "val", Path(test).name: "test"}
    assert {item.picture.stem: item.split for item in reading.items} == {
        f"{number}-{name}": split for name, split in expected.items() for number in range(8)
    }
    done = write_dataset(reading, tmp_path / "out")
    assert done.splits == {"train": 8, "val": 8, "test": 8}
    assert done.remarks == ("the splits are those of the names of folders",)


def test_voc_takes_no_folder_of_things_for_a_split(tmp_path: Path) -> None:
    for number in range(8):
        write_beside(tmp_path / "train_station", f"a{number}", seed=number)
    assert set(splits_of(read_voc(tmp_path)).values()) == {"train", "val"}


def test_voc_of_a_held_out_folder_alone_is_no_training_data(tmp_path: Path) -> None:
    for number in range(8):
        write_beside(tmp_path / "valid", f"a{number}", seed=number)
    reading = read_voc(tmp_path / "valid", val_share=0)
    assert set(splits_of(reading).values()) == {"val"}
    assert "--split says another" in reading.remarks[0]
    assert set(splits_of(read_voc(tmp_path / "valid", split="train")).values()) == {"train"}


def test_voc_refuses_to_guess_the_split_of_one_among_others(tmp_path: Path) -> None:
    write_beside(tmp_path / "train", "a")
    write_beside(tmp_path / "held_back", "b", seed=1)
    reading = read_voc(tmp_path)
    assert splits_of(reading) == {"a": "train"}
    with pytest.raises(DataError, match=r"b\.xml: error: lies in no folder called train, valid or test"):
        write_dataset(reading, tmp_path / "out")


def write_voc(folder: Path, *stems: str) -> None:
    for number, stem in enumerate(stems):
        pictures.write_picture(folder / "JPEGImages" / f"{stem}.jpg", 40, 20, seed=number)
        file = folder / "Annotations" / f"{stem}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(annotation(f"{stem}.jpg", voc_object("dog", BOX)))


def write_list(folder: Path, split: str, content: str | bytes) -> None:
    (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_bytes(content)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"my pic\n", id="a space in the name"),
        pytest.param(b"my pic.jpg\r\n", id="with its suffix"),
        pytest.param(b"VOC\\JPEGImages\\my pic.jpg\n", id="a path of Windows"),
        pytest.param("my pic\n".encode("utf-16"), id="UTF-16"),
        pytest.param("my pic\n".encode("utf-8-sig"), id="a mark"),
    ],
)
def test_voc_lists_are_read_as_tools_write_them(tmp_path: Path, line: bytes) -> None:
    write_voc(tmp_path, "a", "my pic", "c")
    write_list(tmp_path, "val", line)
    expected = {"a": "train", "my pic": "val", "c": "train"}
    assert splits_of(read_voc(tmp_path)) == expected
    assert splits_of(read_voc(tmp_path / "Annotations")) == expected  # the lists lie beside it


def test_voc_leaves_out_what_no_list_names(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", "b", "c")
    write_list(tmp_path, "train", "a\n")
    write_list(tmp_path, "val", "b\n")
    reading = read_voc(tmp_path)
    assert splits_of(reading) == {"a": "train", "b": "val"}
    assert reading.notes == ("1 annotations that no list in ImageSets names",)


def test_voc_what_is_held_out_by_one_source_stays_so(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        write_voc(tmp_path / folder, f"{folder}0", f"{folder}1")
        write_list(tmp_path / folder, "train", f"{folder}0\n{folder}1\n")
    write_list(tmp_path / "train", "val", "train1\n")
    assert splits_of(read_voc(tmp_path)) == {"train0": "train", "train1": "val", "test0": "test", "test1": "test"}


def test_voc_lists_in_another_encoding_are_named(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", "图片", "物体")
    write_list(tmp_path, "val", "a\n物体\n".encode("gbk"))
    with pytest.raises(DataError, match=r"Main/val\.txt: line 2 is not UTF-8"):
        read_voc(tmp_path)


def test_voc_a_list_that_names_nothing_is_told(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", "图片")
    write_list(tmp_path, "val", "图片\n".encode("gbk"))  # by chance it is UTF-8 of other letters
    with pytest.raises(DataError, match="the list val in ImageSets names no annotation that is there"):
        read_voc(tmp_path)


def write_text(folder: Path, content: bytes) -> None:
    write_beside(folder, "a")
    (folder / "a.xml").write_bytes(content)


def declared(encoding: str, name: str) -> str:
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{annotation("a.jpg", voc_object(name, BOX))}'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("物体", declared("gb2312", "物体").encode("gb2312"), id="GB 2312"),
        pytest.param("朱镕基", declared("gb2312", "朱镕基").encode("gbk"), id="GBK that is called GB 2312"),
        pytest.param("物体", declared("GBK", "物体").encode("gbk"), id="GBK"),
        pytest.param("①高橋髙", declared("Shift_JIS", "①高橋髙").encode("cp932"), id="Shift JIS of Windows"),
        pytest.param("물체", declared("euc-kr", "물체").encode("cp949"), id="EUC-KR"),
        pytest.param("Füße", declared("ISO-8859-1", "Füße").encode("latin-1"), id="Latin-1"),
        pytest.param("человек", declared("windows-1251", "человек").encode("cp1251"), id="Cyrillic"),
        pytest.param("物体", declared("utf-8", "物体").encode("utf-8-sig"), id="UTF-8 with a mark"),
        pytest.param("物体", declared("gbk", "物体").encode("utf-8-sig"), id="a mark goes before"),
        pytest.param("物体", declared("utf-16", "物体").encode("utf-16"), id="UTF-16"),
        pytest.param("物体", declared("UTF-16", "物体").encode("utf-16-be"), id="UTF-16 without a mark"),
        pytest.param("物体", declared("gb2312", "物体").encode(), id="UTF-8 under an old declaration"),
        pytest.param("Füße", declared("us-ascii", "Füße").encode(), id="UTF-8 that is called ASCII"),
        pytest.param("物体", declared("utf-16", "物体").encode(), id="UTF-8 that .NET calls UTF-16"),
        pytest.param("物体", annotation("a.jpg", voc_object("物体", BOX)).encode(), id="UTF-8 that declares nothing"),
    ],
)
def test_voc_reads_the_encoding_that_a_file_declares(tmp_path: Path, name: str, content: bytes) -> None:
    write_text(tmp_path / "in", content)
    write_dataset(read_voc(tmp_path / "in", val_share=0), tmp_path / "out")
    spec = read_spec(tmp_path / "out")
    assert spec.names == (name,)
    assert len(load_split(spec, "train")[0][0].labels) == 1


ENTITIES = '<!DOCTYPE a [<!ENTITY b "c">]>' + annotation("a.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(annotation("物体").encode("gbk"), "line 1 is not UTF-8: .* declares no other", id="undeclared"),
        pytest.param(declared("utf-8", "物体").encode("gbk"), "line 2 is not UTF-8.* it declares utf-8", id="a lie"),
        pytest.param(declared("ANSI", "a").encode(), "declares the encoding 'ANSI'", id="no encoding"),
        pytest.param(declared("zip", "a").encode(), "declares the encoding 'zip'", id="of bytes"),
        pytest.param(declared("unicode_escape", "a").encode(), "declares the encoding 'uni", id="of Python"),
        pytest.param(ENTITIES.encode("utf-16"), "declares entities", id="entities in UTF-16"),
        pytest.param(
            b'<?xml version="1.0" encoding="utf-7"?>' + ENTITIES.encode("utf-7"), "encoding 'utf-7'", id="UTF-7"
        ),
        pytest.param(annotation("a.jpg", size=("nan", 20)).encode(), "says nanx20", id="no size"),
        pytest.param(annotation("a.jpg", voc_object("a\x85b", BOX)).encode(), "cannot be printed", id="name"),
        pytest.param(annotation("a.jpg", voc_object("a", BOX)).replace("20<", "inf<").encode(), "xmax must", id="inf"),
        pytest.param(
            annotation("a.jpg", voc_object("a", (0.1, 0.1, 0.5, 0.9))).encode(), "are its numbers frac", id="fractions"
        ),
    ],
)
def test_voc_says_why_a_file_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    write_text(tmp_path / "in", content)
    with pytest.raises(DataError, match=rf"a\.xml: error: .*{message}"):
        write_dataset(read_voc(tmp_path / "in"), tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        pytest.param("IMG_1.JPG", "IMG_1", id="no suffix"),
        pytest.param("IMG_1.JPG", "IMG_1.jpg", id="suffix in another case"),
        pytest.param("IMG_1.JPG", "img_1.jpg", id="name in another case"),
        pytest.param("IMG_1.JPG", r"C:\data\IMG_1.JPG", id="a path of Windows"),
        pytest.param("IMG_1.png", "IMG_1.jpg", id="changed to PNG"),
        pytest.param("IMG_1.jpg", "", id="none"),
        pytest.param("IMG_1.jpg", "before it was renamed.jpg", id="stale"),
        pytest.param("IMG_1.jpg", "x" * 300, id="longer than names may be"),
        pytest.param("IMG_1.Ä.jpg", "IMG_1.a\u0308.jpg", id="accents as macOS writes them"),
    ],
)
def test_voc_finds_the_picture(tmp_path: Path, file: str, said: str) -> None:
    pictures.write_picture(tmp_path / "in" / file, 40, 20)
    pictures.write_picture(tmp_path / "in" / "IMG_10.jpg", 40, 20, seed=1)
    (tmp_path / "in" / "IMG_1.xml").write_text(annotation(said, voc_object("dog", BOX), size=("0", "")))
    [item] = read_voc(tmp_path / "in").items
    assert item.picture == tmp_path / "in" / file


def test_voc_two_annotations_of_one_picture_are_told(tmp_path: Path) -> None:
    write_beside(tmp_path / "in", "a")
    (tmp_path / "in" / "b.xml").write_text(annotation("a.jpg", voc_object("cat", BOX)))
    with pytest.raises(DataError, match=r"b\.xml: error: annotates .*a\.jpg, as .*a\.xml does"):
        write_dataset(read_voc(tmp_path / "in"), tmp_path / "out")


def test_voc_two_pictures_that_are_meant_equally_are_told(tmp_path: Path) -> None:
    write_beside(tmp_path / "in", "a")
    pictures.write_picture(tmp_path / "in" / "A.JPG", 40, 20, seed=1)
    (tmp_path / "in" / "a.xml").write_text(annotation("a.Jpg", voc_object("cat", BOX)))
    with pytest.raises(DataError, match=r"several are called 'a\.Jpg' in .*A\.JPG, a\.jpg"):
        write_dataset(read_voc(tmp_path / "in"), tmp_path / "out")


def test_voc_equal_names_in_subfolders_stay_apart(tmp_path: Path) -> None:
    for number, camera in enumerate(("cam1", "cam2")):
        pictures.write_picture(tmp_path / "in" / "JPEGImages" / camera / "a.jpg", 40, 20, seed=number)
        file = tmp_path / "in" / "Annotations" / camera / "a.xml"
        file.parent.mkdir(parents=True)
        file.write_text(annotation("a.jpg", voc_object("dog", (1, 1, 20 * (number + 1), 20))))
    done = write_dataset(read_voc(tmp_path / "in", val_share=0), tmp_path / "out")
    samples, _ = load_split(read_spec(tmp_path / "out"), "train")
    assert [sample.picture.name for sample in samples] == ["cam1-a.jpg", "cam2-a.jpg"]
    for number, sample in enumerate(samples):
        source = tmp_path / "in" / "JPEGImages" / f"cam{number + 1}" / "a.jpg"
        assert sample.picture.read_bytes() == source.read_bytes()
        np.testing.assert_allclose(sample.labels.cxcywh[0], [0.25 * (number + 1), 0.5, 0.5 * (number + 1), 1])
    assert "2 pictures of equal names are renamed" in done.remarks[-1]


def test_voc_hidden_files_and_linked_folders(tmp_path: Path) -> None:
    write_beside(tmp_path / "elsewhere", "a")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "set").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "._a.xml").write_bytes(base64.b64decode("AAUWBwACAAA="))  # as macOS leaves them
    write_beside(tmp_path / "in" / ".ipynb_checkpoints", "a-checkpoint", seed=1)
    os.mkfifo(tmp_path / "in" / "pipe.xml")
    assert list(splits_of(read_voc(tmp_path / "in"))) == ["a"]


def test_convert_never_writes_into_a_file_that_is_there(tmp_path: Path) -> None:
    write_beside(tmp_path / "first", "a")
    write_beside(tmp_path / "second", "a", seed=1)
    write_dataset(read_voc(tmp_path / "first", val_share=0), tmp_path / "out")
    before = (tmp_path / "first" / "a.jpg").read_bytes()  # linked with the one that was written
    (tmp_path / "out" / "labels" / "train" / "a.txt").unlink()
    with pytest.raises(DataError, match=r"images/train/a\.jpg is there already"):
        write_dataset(read_voc(tmp_path / "second", val_share=0), tmp_path / "out")
    assert (tmp_path / "first" / "a.jpg").read_bytes() == before


@pytest.mark.parametrize("name", ["no", "1", "a: b # c", 'say "hi"', "it's", "a\\b", "😀", "- x", "{}", "null"])
def test_convert_class_names_come_back_from_the_yaml(tmp_path: Path, name: str) -> None:
    write_beside(tmp_path / "in", "a", name=name)
    write_dataset(read_voc(tmp_path / "in"), tmp_path / "out")
    assert read_spec(tmp_path / "out").names == (name,)
