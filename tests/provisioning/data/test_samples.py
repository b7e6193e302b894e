from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import DataError
from provisioning.data.label_files import label_path
from provisioning.data.samples import list_pictures, load_split
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
