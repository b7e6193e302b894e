from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import DataError
from provisioning.data.spec import read_spec


def write(folder: Path, text: str) -> Path:
    file = folder / "data.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("train: t\nnames: [a, b]", ("a", "b"), id="list"),
        pytest.param("train: t\nnames: {0: a, 1: b}", ("a", "b"), id="map"),
        pytest.param("train: t\nnames:\n  1: b\n  0: a", ("a", "b"), id="map out of order"),
        pytest.param("train: t\nnames: {'1': b, '0': a}", ("a", "b"), id="map of text"),
        pytest.param("train: t\nnc: 2\nnames: [a, b]", ("a", "b"), id="nc agrees"),
        pytest.param("train: t\nnc: '2'\nnames: [a, b]", ("a", "b"), id="nc in quotes"),
        pytest.param(
            "train: t\nnames: {'10': k, '2': c, 0: a, 1: b, 3: d, 4: e, 5: f, 6: g, 7: h, 8: i, 9: j}",
            tuple("abcdefghijk"),
            id="ids in quotes are no text",
        ),
        pytest.param("train: t\nnames: [1, 2.5, 'yes']", ("1", "2.5", "yes"), id="numbers, and a word in quotes"),
    ],
)
def test_read_spec_takes_names(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert read_spec(write(tmp_path, text)).names == names


def test_read_spec_resolves_paths_at_its_own_folder(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, "path: sub\ntrain: [a, /b]\nval: c.txt\ntest:\nnames: [x]"))
    assert dict(spec.sources) == {
        "train": (tmp_path / "sub" / "a", Path("/b")),
        "val": (tmp_path / "sub" / "c.txt",),
    }


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("train: ../train/images\nval: ../valid/images", id="Roboflow"),
        pytest.param("train: train\\images\nval: valid\\images", id="backslashes"),
        pytest.param("train: ..\\train\\images\nvalid: ..\\valid\\images", id="both, val called valid"),
        pytest.param("path: .\\\ntrain: ./train/images\nval: ['valid/images']", id="here"),
    ],
)
def test_read_spec_finds_what_lies_beside_it(tmp_path: Path, text: str) -> None:
    for split in ("train", "valid"):
        (tmp_path / "set" / split / "images").mkdir(parents=True)
    spec = read_spec(write(tmp_path / "set", f"{text}\nnames: [a]"))
    assert dict(spec.sources) == {
        "train": (tmp_path / "set" / "train" / "images",),
        "val": (tmp_path / "set" / "valid" / "images",),
    }


def test_read_spec_warns_where_two_folders_could_be_meant(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "set"):
        (folder / "train" / "images").mkdir(parents=True)
    spec = read_spec(write(tmp_path / "set", "train: ../train/images\nnames: [a]"))
    assert spec.sources["train"] == (tmp_path / "train" / "images",)
    assert [defect.kind for defect in spec.defects] == ["ambiguous path"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("path: ../pool\ntrain: t", "path: ../pool is not there; {}/pool is read", id="path"),
        pytest.param("train: data/pool/t", "train: data/pool/t is not there; {}/pool/t is read", id="data/"),
        pytest.param("train: .cache/t", "", id="hidden, and there"),
    ],
)
def test_read_spec_says_what_it_takes_for_a_path_that_is_not_there(tmp_path: Path, text: str, said: str) -> None:
    for place in ("pool/t", ".cache/t", "cache/t"):
        (tmp_path / "set" / place).mkdir(parents=True)
    spec = read_spec(write(tmp_path / "set", f"{text}\nnames: [a]"))
    assert [defect.message for defect in spec.defects] == [said.format(tmp_path / "set")] * bool(said)


def test_read_spec_takes_folders_in_any_script(tmp_path: Path) -> None:
    folder = tmp_path / "写真\u3000集" / "a\u00a0b \U0001f468\u200d\U0001f469"
    folder.mkdir(parents=True)
    text = f"path: {folder.parent.name}\ntrain: {folder.name}\nnames: [a]\n"
    (tmp_path / "data.yaml").write_text(text, "utf-8")
    assert read_spec(tmp_path).sources["train"] == (folder,)


def test_read_spec_takes_what_cvat_exports(tmp_path: Path) -> None:
    lines = "classes = 2\ntrain = data/train.txt\nvalid = data\\valid.txt\nnames = data/obj.names\nbackup = backup/\n"
    (tmp_path / "obj.data").write_text(lines)
    (tmp_path / "obj.names").write_text("person\nb\u00fcffel\n\n", "utf-8")
    for name in ("train.txt", "valid.txt"):
        (tmp_path / name).touch()
    spec = read_spec(tmp_path)
    assert (spec.file, spec.names) == (tmp_path / "obj.data", ("person", "b\u00fcffel"))
    assert dict(spec.sources) == {"train": (tmp_path / "train.txt",), "val": (tmp_path / "valid.txt",)}


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        pytest.param("classes 1", "a", r"obj.data:1: expected `key = value`", id="no key"),
        pytest.param("train = t", "a", "names no class list", id="no names"),
        pytest.param("train = t\nnames = gone", "a", "class list .*gone cannot be read", id="names are gone"),
        pytest.param("train = t\nnames = obj.names", "a\n\nb", r"obj.names:2: empty", id="a hole in the names"),
        pytest.param("classes = 3\ntrain = t\nnames = obj.names", "a\nb", "nc says 3 classes", id="classes"),
        pytest.param("classes = 1\nnames = obj.names", "a", "names no pictures", id="no pictures"),
    ],
)
def test_read_spec_refuses_of_darknet(tmp_path: Path, text: str, names: str, message: str) -> None:
    (tmp_path / "obj.data").write_text(text)
    (tmp_path / "obj.names").write_text(names)
    with pytest.raises(DataError, match=message):
        read_spec(tmp_path / "obj.data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('train: "images\\train"\nnames: [a]', "control character.*write paths with /", id="tab"),
        pytest.param('train: "C:\\images"\nnames: [a]', "not YAML.*write paths with /", id="unknown escape"),
        pytest.param("", "holds no keys", id="empty"),
        pytest.param("- a\n- b", "holds no keys", id="a list"),
        pytest.param("train: [", "is not YAML", id="not YAML"),
        pytest.param("a: !!python/object/apply:os.system ['true']", "is not YAML", id="hostile"),
        pytest.param("names: [a]", "names no pictures", id="no split"),
        pytest.param("train: t", "must be a list, or a mapping from 0 to the last class, got NoneType", id="no names"),
        pytest.param("train: t\nnames: []", "got an empty list", id="empty names"),
        pytest.param("train: t\nnames: [a, a]", "different", id="twice the same name"),
        pytest.param("train: t\nnames: {0: a, 2: b}", "without gaps", id="gap in names"),
        pytest.param("train: t\nnames: {0: a, '0': b}", "without gaps", id="the same class twice"),
        pytest.param("train: t\nnames: [a, null]", "name of class 1 must be text", id="nothing as name"),
        pytest.param("train: t\nnames: {0: on, 1: off}", "class 0 as True: put yes, no, on and off", id="on and off"),
        pytest.param(
            f"train: {'x' * 300}.txt\nval: []\nnames: []", "got an empty list", id="a name that no folder has"
        ),
        pytest.param("train: t\nnc: 3\nnames: [a]", "nc says 3 classes, names lists 1", id="nc contradicts"),
        pytest.param("train: 5\nnames: [a]", "must be a path", id="number as path"),
        pytest.param("train: t\nkpt_shape: [2, 2]\nnames: [a]", "key points are not trained", id="key points"),
        pytest.param("train: t\npath: [x]\nnames: [a]", "path must be text", id="list as root"),
    ],
)
def test_read_spec_refuses(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_spec(write(tmp_path, text))


def test_read_spec_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.yaml cannot be read"):
        read_spec(tmp_path / "nothing.yaml")


def test_read_spec_takes_the_folder_of_its_yaml(tmp_path: Path) -> None:
    file = write(tmp_path, "train: t\nnames: [a]")
    assert read_spec(tmp_path) == read_spec(file)
    assert read_spec(tmp_path).file == file


def test_read_spec_of_a_folder_without_yaml_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.yaml cannot be read: No such file.*or the folder of its data\.yaml"):
        read_spec(tmp_path)
