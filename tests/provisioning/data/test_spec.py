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
        pytest.param("train: t\nnc: 2\nnames: [a, b]", ("a", "b"), id="nc agrees"),
        pytest.param("train: t\nnames: [1, yes]", ("1", "True"), id="names that YAML reads as other types"),
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
    ("text", "message"),
    [
        pytest.param("", "holds no keys", id="empty"),
        pytest.param("- a\n- b", "holds no keys", id="a list"),
        pytest.param("train: [", "is not YAML", id="not YAML"),
        pytest.param("a: !!python/object/apply:os.system ['true']", "is not YAML", id="hostile"),
        pytest.param("names: [a]", "names no pictures", id="no split"),
        pytest.param("train: t", "must list the classes", id="no names"),
        pytest.param("train: t\nnames: []", "must list the classes", id="empty names"),
        pytest.param("train: t\nnames: [a, a]", "different", id="twice the same name"),
        pytest.param("train: t\nnames: {0: a, 2: b}", "without gaps", id="gap in names"),
        pytest.param("train: t\nnc: 3\nnames: [a]", "nc says 3 classes, names lists 1", id="nc contradicts"),
        pytest.param("train: 5\nnames: [a]", "must be a path", id="number as path"),
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
