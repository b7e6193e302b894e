"""Where labels lie, and what is said of those that are not where they are looked for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.core.errors import DataError
from provisioning.data.labels import Severity
from provisioning.data.samples import list_pictures, load_split, read_samples
from provisioning.data.spec import read_spec
from tests.provisioning.data.pictures import write_dataset, write_picture

LINE = "0 .5 .5 .2 .2"
NOBODY = 65534
PLACES = {
    "beside": "images/train/{}.txt",
    "Labels": "Labels/train/{}.txt",
    "label": "label/train/{}.txt",
    "flat": "labels/{}.txt",
    "upper case": "labels/train/{}.TXT",
    "behind the suffix": "labels/train/{}.png.txt",
    "annotations": "annotations/train/{}.txt",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_load_split_says_where_labels_lie_that_are_not_where_they_are_looked_for(tmp_path: Path, place: str) -> None:
    file = write_dataset(tmp_path, {"train/a": LINE, "train/b": LINE})
    for name in "ab":
        there = tmp_path / place.format(name)
        there.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / "train" / f"{name}.txt").rename(there)
    looked_for = tmp_path / "labels" / "train" / "a.txt"
    with pytest.raises(DataError, match=f"looked for as {looked_for}, but lie as {tmp_path / place.format('a')};"):
        load_split(read_spec(file), "train")


def test_load_split_takes_labels_beside_where_the_whole_data_set_lies_in_a_folder_called_images(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "yard"
    write_picture(folder / "train" / "a.png")
    (folder / "train" / "a.txt").write_text(LINE)
    (folder / "data.yaml").write_text("train: train\nnames: [a]")
    samples, _ = load_split(read_spec(folder), "train")
    assert [len(sample.labels) for sample in samples] == [1]


def test_load_split_finds_labels_of_some_pictures_elsewhere(tmp_path: Path) -> None:
    """Half of a data set would else be taken for background without a word."""
    file = write_dataset(tmp_path, {"train/a": LINE, "train/b": LINE, "train/c": ""})
    (tmp_path / "labels" / "train" / "b.txt").rename(tmp_path / "images" / "train" / "b.txt")
    (tmp_path / "labels" / "train" / "c.txt").unlink()  # background, and allowed
    (tmp_path / "images" / "train" / "c.txt").write_text("A street at night.")
    with pytest.raises(DataError, match=r"1 defects in 1 pictures of train, the first: .*b\.png"):
        load_split(read_spec(file), "train")
    samples, left_out = load_split(read_spec(file), "train", skip_bad=True)
    assert ([sample.picture.stem for sample in samples], left_out) == (["a", "c"], 1)


def test_load_split_does_not_take_the_labels_of_another_picture_of_that_name(tmp_path: Path) -> None:
    file = write_dataset(tmp_path, {"train/a": LINE})
    write_picture(tmp_path / "images" / "train" / "night" / "a.png")
    samples, _ = load_split(read_spec(file), "train")
    assert [len(sample.labels) for sample in samples] == [1, 0]


def test_load_split_keeps_pictures_of_one_name_in_subfolders_apart(tmp_path: Path) -> None:
    file = write_dataset(tmp_path, {"train/cam1/a": LINE, "train/cam2/a": "1 .5 .5 .1 .1\n0 .2 .2 .1 .1"})
    samples, _ = load_split(read_spec(file), "train")
    assert [sample.labels.class_id.tolist() for sample in samples] == [[0], [1, 0]]


@pytest.mark.parametrize("split", ["train", "val"])
def test_load_split_refuses_one_without_a_box_and_says_where_labels_lie(tmp_path: Path, split: str) -> None:
    file = write_dataset(tmp_path, {f"{split}/a": LINE, f"{split}/b": LINE})
    shutil.move(tmp_path / "labels" / split, tmp_path / "exported" / "yolo")
    message = (
        f"{split} holds no box: 2 of 2 pictures have no label file, looked for {tmp_path}/labels/{split}/a.txt; "
        f"2 .txt files of these names lie in {tmp_path}/exported/yolo"
    )
    with pytest.raises(DataError, match=message):
        load_split(read_spec(file), split)


def test_load_split_refuses_empty_label_files_alone(tmp_path: Path) -> None:
    file = write_dataset(tmp_path, {"train/a": "", "train/b": "\n"})
    with pytest.raises(DataError, match="train holds no box: the label files of its 2 pictures hold no usable line"):
        load_split(read_spec(file), "train")


def test_load_split_leaves_out_pictures_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_dataset(tmp_path, {f"train/{name}": LINE for name in "abcd"})
    (tmp_path / "images" / "train" / "b.png").write_bytes(b"<html>")
    cut = tmp_path / "images" / "train" / "c.png"
    cut.write_bytes(cut.read_bytes()[:200])
    samples, left_out = load_split(read_spec(file), "train", skip_bad=True)
    assert ([sample.picture.stem for sample in samples], left_out) == (["a", "d"], 2)
    assert "b.png cannot be decoded" in caplog.text


def test_load_split_names_a_listed_picture_that_does_not_exist(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train/a": LINE})
    (tmp_path / "train.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    file = tmp_path / "listed.yaml"
    file.write_text("train: train.txt\nnames: [a]")
    with pytest.raises(DataError, match=r"gone\.png: error: a list names it, but it does not exist"):
        load_split(read_spec(file), "train")
    assert len(load_split(read_spec(file), "train", skip_bad=True)[0]) == 1


def test_load_split_prints_a_command_that_a_shell_takes(tmp_path: Path) -> None:
    file = write_dataset(tmp_path / "my set", {"train/a": "7 .5 .5 .2 .2"})
    with pytest.raises(DataError, match=f"with: edged-provision dataset check '{file}';"):
        load_split(read_spec(file), "train")


def test_list_pictures_takes_a_listed_data_set_that_lies_in_a_hidden_folder(tmp_path: Path) -> None:
    pictures = [write_picture(tmp_path / place) for place in (".cache/set/images/a.png", "set/images/b.png")]
    hidden = write_picture(tmp_path / ".cache/set/images/.thumbs/a.png")
    listed = tmp_path / "train.txt"
    listed.write_text("\n".join(map(str, [*pictures, hidden])))
    assert list_pictures([listed]) == pictures
    listed.write_text(".cache/set/images/a.png\n")
    assert list_pictures([listed]) == pictures[:1]


@pytest.mark.parametrize("line", ["a\0.png", ",".join(["images/train/a.png"] * 400)], ids=["nul", "one line of all"])
def test_list_pictures_refuses_a_line_that_no_path_can_be(tmp_path: Path, line: str) -> None:
    listed = tmp_path / "train.txt"
    listed.write_text(line)
    with pytest.raises(DataError, match=r"train\.txt:1: .* is not a picture"):
        list_pictures([listed])


def test_list_pictures_does_not_follow_a_link_to_a_folder_above(tmp_path: Path) -> None:
    seen = write_picture(tmp_path / "images" / "train" / "a.png")
    write_picture(tmp_path / "images" / "val" / "b.png")
    (tmp_path / "images" / "train" / "all").symlink_to(tmp_path / "images")
    assert list_pictures([tmp_path / "images" / "train"]) == [seen]


def test_load_split_keeps_background_whose_labels_a_selection_left_out(tmp_path: Path) -> None:
    """Beside labels/ people keep labels_all/ or labels_seg/, which say nothing of a picture without labels."""
    file = write_dataset(tmp_path, {"train/a": LINE, "train/b": LINE})
    shutil.copytree(tmp_path / "labels", tmp_path / "labels_all")
    (tmp_path / "labels" / "train" / "b.txt").unlink()
    samples, left_out = load_split(read_spec(file), "train")
    assert ([len(sample.labels) for sample in samples], left_out) == ([1, 0], 0)
    [(_, none), (_, [defect])] = read_samples([sample.picture for sample in samples], classes=2)
    assert (none, defect.severity, defect.kind) == ([], Severity.WARNING, "labels elsewhere")


@pytest.mark.parametrize("link", ["labels/train/b.txt", "images/train/b.png"])
def test_load_split_refuses_a_link_that_leads_nowhere(tmp_path: Path, link: str) -> None:
    """Its labels would else be those of the background, and its picture be left out, without a word."""
    file = write_dataset(tmp_path, {"train/a": LINE, "train/b": LINE})
    (tmp_path / link).unlink()
    (tmp_path / link).symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=rf"1 defects in 1 pictures of train, the first: {tmp_path / link}: "):
        load_split(read_spec(file), "train")


@pytest.fixture
def anybody() -> Iterator[Path]:
    """A folder of a user without rights, who this process is meanwhile: root may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.seteuid(0)


@pytest.mark.parametrize(
    ("locked", "message"),
    [
        pytest.param("labels/train", r"labels/train/a\.txt: error: cannot be read: Permission denied", id="labels"),
        pytest.param("images/train", r"images/train cannot be read: Permission denied", id="pictures"),
        pytest.param("images", r"images/train is neither .*Permission denied", id="above the pictures"),
        pytest.param(".", r"data\.yaml cannot be read: Permission denied", id="data set"),
    ],
)
def test_load_split_does_not_take_for_absent_what_it_may_not_read(anybody: Path, locked: str, message: str) -> None:
    """A folder of labels that another user wrote would else make its pictures background."""
    write_dataset(anybody, {"train/a": LINE, "val/b": LINE})
    place = anybody / locked
    place.chmod(0)
    try:
        with pytest.raises(DataError, match=message):
            load_split(read_spec(anybody / "data.yaml"), "train")
    finally:
        place.chmod(0o700)
