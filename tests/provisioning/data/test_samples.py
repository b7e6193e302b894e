from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.core.errors import DataError
from provisioning.data.label_files import label_path
from provisioning.data.labels import Severity
from provisioning.data.samples import list_pictures, load_split, read_samples
from provisioning.data.spec import read_spec
from tests.provisioning.data.pictures import write_dataset, write_picture


@pytest.mark.parametrize(
    ("picture", "labels"),
    [
        pytest.param("/d/images/train/a.jpg", "/d/labels/train/a.txt", id="usual"),
        pytest.param("/images/x/images/a.b.png", "/images/x/labels/a.b.txt", id="the last images"),
        pytest.param("/d/a.jpg", "/d/a.txt", id="beside"),
    ],
)
def test_label_path_is_beside_or_in_labels(picture: str, labels: str) -> None:
    assert label_path(Path(picture)) == Path(labels)


def test_list_pictures_takes_folders_lists_and_pictures_once_each(tmp_path: Path) -> None:
    a = write_picture(tmp_path / "images" / "deep" / "a.JPG")
    b = write_picture(tmp_path / "images" / "b.png")
    (tmp_path / "images" / "notes.txt").write_text("x")
    listed = tmp_path / "list.txt"
    listed.write_text("./images/b.png\n\nimages/deep/a.JPG\n")
    assert list_pictures([tmp_path / "images", listed, b]) == sorted([a, b])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("a.jpg\nb.doc\n", r"list.txt:2: 'b.doc' is not a picture", id="other files"),
        pytest.param(b"\xff\xfe", "neither a folder", id="binary"),
    ],
)
def test_list_pictures_refuses_a_bad_list(tmp_path: Path, content: str | bytes, message: str) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        list_pictures([listed])


def test_list_pictures_leaves_out_what_is_hidden(tmp_path: Path) -> None:
    folder = tmp_path / ".home" / "images"  # above the source a dot says nothing
    seen = write_picture(folder / "p0.jpg")
    for name in ("._p0.jpg", ".ipynb_checkpoints/p0-checkpoint.jpg", "cam/.thumbs/p1.png"):
        write_picture(folder / name)
    listed = tmp_path / ".home" / "train.txt"
    listed.write_text("./images/p0.jpg\nimages/._p0.jpg\nimages/.ipynb_checkpoints/p0-checkpoint.jpg\n")
    assert list_pictures([folder]) == [seen]
    assert list_pictures([listed]) == [seen]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("sub/images/a.jpg", id="from its own folder"),
        pytest.param("data/sub/images/a.jpg", id="CVAT"),
        pytest.param("..\\lists\\sub\\images\\a.jpg", id="backslashes"),
        pytest.param("../sub/images/a.jpg", id="Roboflow"),
        pytest.param("lists/sub/images/a.jpg", id="from the data set's folder"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_list_pictures_finds_the_pictures_of_a_list(tmp_path: Path, line: str, encoding: str) -> None:
    picture = write_picture(tmp_path / "lists" / "sub" / "images" / "a.jpg")
    listed = tmp_path / "lists" / "train.txt"
    listed.write_text(f"{line}\n", encoding)
    assert list_pictures([listed], root=tmp_path) == [picture]


def test_list_pictures_follows_links_once(tmp_path: Path) -> None:
    write_picture(tmp_path / "pool" / "a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cam").symlink_to(tmp_path / "pool")
    (tmp_path / "pool" / "above").symlink_to(tmp_path)  # a circle
    assert list_pictures([tmp_path / "images"]) == [tmp_path / "images" / "cam" / "a.png"]


@pytest.mark.parametrize("labels", ["set/labels/train/a.txt", "pool/labels/a.txt"])
def test_labels_of_a_linked_picture_belong_to_its_name_or_to_its_target(tmp_path: Path, labels: str) -> None:
    target = write_picture(tmp_path / "pool" / "images" / "a.png")
    link = tmp_path / "set" / "images" / "train" / "a.png"
    for folder in (link.parent, (tmp_path / labels).parent):
        folder.mkdir(parents=True)
    link.symlink_to(target)
    (tmp_path / labels).write_text("0 .5 .5 .2 .2")
    (tmp_path / "set" / "data.yaml").write_text("train: images/train\nnames: [a]")
    samples, _ = load_split(read_spec(tmp_path / "set"), "train")
    assert [len(sample.labels) for sample in samples] == [1]


def test_list_pictures_refuses_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        list_pictures([tmp_path / "nothing"])


def test_load_split_reads_labels_and_background(tmp_path: Path) -> None:
    file = write_dataset(tmp_path, {"train/a": "1 .5 .5 .2 .2", "train/b": ""})
    samples, left_out = load_split(read_spec(file), "train")
    assert [len(sample.labels) for sample in samples] == [1, 0]
    assert left_out == 0


def test_load_split_refuses_defects_unless_told_to_leave_them_out(tmp_path: Path) -> None:
    spec = read_spec(write_dataset(tmp_path, {"train/a": "7 .5 .5 .2 .2", "train/b": "0 .5 .5 .2 .2"}))
    with pytest.raises(
        DataError, match=r"the first: .*labels/train/a.txt:1: error: class id must be 0 to 1, got 7; see"
    ):
        load_split(spec, "train")
    samples, left_out = load_split(spec, "train", skip_bad=True)
    assert ([sample.picture.stem for sample in samples], left_out) == (["b"], 1)


def test_load_split_refuses_a_missing_or_empty_split(tmp_path: Path) -> None:
    spec = read_spec(write_dataset(tmp_path, {"train/a": "0 .5 .5 .2 .2"}))
    with pytest.raises(DataError, match="has no split val"):
        load_split(spec, "val")
    (tmp_path / "images" / "train" / "a.png").unlink()
    with pytest.raises(DataError, match="no usable picture"):
        load_split(spec, "train")


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
