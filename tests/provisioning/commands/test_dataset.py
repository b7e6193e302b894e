from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioning.__main__ import main
from tests.provisioning.data.pictures import write_dataset
from tests.provisioning.data.voc import annotation, write_beside


def test_dataset_check_of_a_sound_data_set_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_dataset(tmp_path, {"train/a": "0 .5 .5 .5 .5\n1 .2 .2 .1 .1", "val/b": "0 .5 .5 .5 .5\n1 .2 .2 .1 .1"})
    assert main(["dataset", "check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "train: 1 pictures, 0 of them background; 2 boxes" in out
    assert out.endswith("no errors: ready to train on\n")


def test_dataset_check_lists_defects_and_ends_with_65(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_dataset(tmp_path, {"train/a": "0 .5 .5 .5 .5\n3 .5 .5 .1 .1"})
    assert main(["dataset", "check", str(file)]) == 65
    out = capsys.readouterr().out
    assert f"{tmp_path}/labels/train/a.txt:2: error: class id must be 0 to 1, got 3" in out
    assert main(["dataset", "check", str(file), "--json"]) == 65
    report = json.loads(capsys.readouterr().out)
    assert (report["errors"], report["defects"][0]["line"]) == (1, 2)


def test_dataset_check_calls_ready_only_what_train_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_dataset(tmp_path, {"train/a": "0 .1 .1 .4 .1 .4 .4\n1 .5 .5 .1 .1"})
    assert main(["dataset", "check", str(file)]) == 65
    assert main(["dataset", "check", str(file), "--polygons"]) == 0
    out = capsys.readouterr().out
    assert "train holds 1 polygons: the box around each is taken" in out
    assert out.endswith("no errors; to train on it, name pictures for val, too\n")
    write_dataset(tmp_path, {"train/a": "0 .1 .1 .4 .1 .4 .4\n1 .5 .5 .1 .1", "val/b": "0 .5 .5 .5 .5\n1 .5 .5 .2 .2"})
    assert main(["dataset", "check", str(file), "--polygons"]) == 0
    assert capsys.readouterr().out.endswith("no errors: ready to train on, with --polygons\n")
    assert main(["dataset", "check", str(file), "--polygons", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ready"] is True


def test_dataset_check_of_labels_beside_the_pictures_says_where_they_belong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_dataset(tmp_path, {"train/a": "0 .5 .5 .5 .5", "val/b": "1 .5 .5 .5 .5"})
    for place in ("train/a", "val/b"):
        (tmp_path / "labels" / f"{place}.txt").rename(tmp_path / "images" / f"{place}.txt")
    assert main(["dataset", "check", str(file)]) == 65
    out = capsys.readouterr().out
    assert "ready" not in out
    for place in ("train/a", "val/b"):
        assert f"looked for as {tmp_path}/labels/{place}.txt, but lie as {tmp_path}/images/{place}.txt" in out
    assert "error: train holds no box" in out


def test_dataset_check_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "check", str(tmp_path / "none.yaml")]) == 65
    assert "none.yaml cannot be read" in capsys.readouterr().err


def test_dataset_convert_reports_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_dataset(tmp_path / "in", {"train/a": "0 .5 .5 .5 .5\n1 .5 .5 .1 .1"})
    command = [
        "dataset",
        "convert",
        str(file),
        "--from",
        "yolo",
        "--only",
        "b",
        "--to",
        str(tmp_path / "out"),
        "--json",
    ]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pictures"], report["boxes"], report["left_out"]) == (1, 1, ["1 boxes of other classes"])


def test_dataset_convert_says_each_error_on_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_beside(tmp_path / "in", "a")
    for name in ("b", "c"):
        (tmp_path / "in" / f"{name}.xml").write_text(annotation(f"{name}.jpg"))
    command = ["dataset", "convert", str(tmp_path / "in"), "--from", "voc", "--to", str(tmp_path / "out")]
    errors = [
        f"{tmp_path}/in/{name}.xml: error: no picture {name}.jpg beside it, in JPEGImages or in images" for name in "bc"
    ]
    summary = "2 defects, nothing was written; mend them, or leave these pictures out with --skip-bad"
    assert main(command) == 65
    assert capsys.readouterr().err.splitlines() == [f"edged-provision: error: {summary}", *errors]
    assert main([*command, "--skip-bad"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == errors
    assert out.endswith("left out: 2 pictures with defects\n")


def test_dataset_convert_names_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    """An archive of Windows, unpacked: names in GBK. As a folder's name it does no harm, as a picture's it is told."""
    folder = tmp_path / os.fsdecode("物体".encode("gbk"))
    write_beside(folder / "train" / "a", "p")
    write_beside(folder / "train" / "b", "p", seed=1)
    command = [sys.executable, "-m", "provisioning", "dataset", "convert", str(folder), "--from", "voc", "--to"]
    done = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, check=True)
    assert rb"\udcce\udcef\udccc\udce5/train/a/p.jpg is" in done.stdout
    write_beside(folder / "train", "q", seed=2)
    for path in (folder / "train").glob("q.*"):
        path.rename(path.with_name(f"{folder.name}{path.suffix}"))
    done = subprocess.run([*command, str(tmp_path / "again")], capture_output=True, check=False)
    assert done.returncode == 65
    assert rb"the picture's name is '\udcce\udcef\udccc\udce5.jpg'; rename it" in done.stderr


@pytest.mark.parametrize(
    ("source", "kind", "splits"),
    [
        pytest.param("robo", "voc", {"train": 8, "val": 3, "test": 2}, id="robo"),
        pytest.param("upper", "voc", {"train": 2}, id="upper"),
        pytest.param("gbk", "voc", {"train": 1}, id="gbk"),
        pytest.param("ls", "coco", {"train": 1}, id="ls"),
        pytest.param("strid/instances.json", "coco", {"train": 1}, id="strid"),
        pytest.param("zerohw/instances.json", "coco", {"train": 1}, id="zerohw"),
        pytest.param("subdir/instances.json", "coco", {"train": 2}, id="subdir"),
    ],
)
def test_dataset_convert_takes_what_people_reported(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, kind: str, splits: dict[str, int]
) -> None:
    path = test_data / "reports" / "provisioning" / source
    if not path.exists():
        pytest.skip(f"{path} is not there")
    assert main(["dataset", "convert", str(path), "--from", kind, "--to", str(tmp_path / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["splits"], report["boxes"]) == (splits, sum(splits.values()))
    assert main(["dataset", "check", str(tmp_path / "out"), "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert {split: counts["boxes"] for split, counts in checked["splits"].items()} == splits


def test_dataset_render_draws_scenes(tmp_path: Path) -> None:
    assert main(["dataset", "render", "--train", "1", "--val", "1", "--to", str(tmp_path)]) == 0
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["render", "--train", "0", "--val", "0", "--to", "x"], id="nothing to draw"),
        pytest.param(["convert", "x", "--from", "voc", "--to", "y", "--val-share", "2"], id="share"),
        pytest.param(["convert", "x", "--from", "yolo", "--to", "y", "--split", "val"], id="split of YOLO"),
        pytest.param(["convert", "x", "--from", "voc", "--to", "y", "--images", "z"], id="images of VOC"),
    ],
)
def test_dataset_refuses_impossible_options(arguments: list[str]) -> None:
    assert main(["dataset", *arguments]) == 2
