from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import DataError
from provisioning.data.samples import label_path, list_pictures, load_split
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
