from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioning.__main__ import main
from tests.provisioning.data.pictures import write_dataset


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


def test_dataset_render_draws_scenes(tmp_path: Path) -> None:
    assert main(["dataset", "render", "--train", "1", "--val", "1", "--to", str(tmp_path)]) == 0
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["render", "--train", "0", "--val", "0", "--to", "x"], id="nothing to draw"),
        pytest.param(["convert", "x", "--from", "voc", "--to", "y", "--val-share", "2"], id="share"),
    ],
)
def test_dataset_refuses_impossible_options(arguments: list[str]) -> None:
    assert main(["dataset", *arguments]) == 2
