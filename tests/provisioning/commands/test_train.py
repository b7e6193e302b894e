from __future__ import annotations

from pathlib import Path

import pytest

from provisioning.__main__ import main
from provisioning.data.rendered import render_dataset
from provisioning.training.hyper import DEFAULTS
from tests.provisioning.data.pictures import write_dataset


def test_train_shows_its_hyper_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--show-hyper"]) == 0
    assert capsys.readouterr().out == DEFAULTS.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "train needs --data and --name", id="nothing"),
        pytest.param(["--data", "d", "--name", "a/b"], "must be a plain name", id="name"),
        pytest.param(["--data", "d", "--name", "a", "--epochs", "0"], "--epochs must be at least 1", id="epochs"),
        pytest.param(["--data", "d", "--name", "a", "--batch-size", "x"], "a number above 0 or auto", id="batch"),
    ],
)
def test_train_refuses_impossible_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_train_names_a_device_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    render_dataset(tmp_path, train=1, val=1, seed=0)
    command = ["train", "--data", str(tmp_path / "data.yaml"), "--name", "x", "--runs", str(tmp_path / "runs")]
    assert main([*command, "--device", "toaster"]) == 2
    assert "--device must be cpu, cuda or cuda:N" in capsys.readouterr().err


def test_train_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    render_dataset(tmp_path, train=2, val=1, seed=0)
    command = ["train", "--data", str(tmp_path / "data.yaml"), "--name", "x", "--runs", str(tmp_path / "runs")]
    assert main([*command, "--size", "64", "--epochs", "1", "--batch-size", "2"]) == 0
    out = capsys.readouterr().out
    assert f"next: edged-provision import {tmp_path}/runs/x/best.pt --name x --size 64" in out
    assert (tmp_path / "runs" / "x" / "best.pt").is_file()
    assert main([*command, "--size", "64", "--epochs", "1", "--batch-size", "2"]) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_train_refuses_a_data_set_without_a_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_dataset(tmp_path, {"train/a": "0 .5 .5 .5 .5", "val/b": "0 .5 .5 .5 .5"})
    (tmp_path / "labels").rename(tmp_path / "label")
    runs = tmp_path / "runs"
    command = ["train", "--data", str(file), "--name", "x", "--runs", str(runs), "--size", "64", "--epochs", "1"]
    assert main(command) == 65
    assert f"but lie as {tmp_path}/label/train/a.txt" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 65  # nothing is left then
    assert not runs.exists()


def test_train_skips_what_is_bad_and_takes_polygons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    polygon = "0 .1 .1 .6 .1 .6 .6 .1 .6"
    file = write_dataset(tmp_path / "my set", dict.fromkeys(("train/a", "train/b", "val/c", "val/d"), polygon))
    for place in ("train/a", "val/c"):
        (tmp_path / "my set" / "images" / f"{place}.png").write_bytes(b"no picture")
    command = ["train", "--data", str(file), "--name", "my run", "--runs", str(tmp_path / "runs"), "--skip-bad"]
    command += ["--size", "64", "--epochs", "1", "--batch-size", "1"]
    assert main(command) == 65
    assert "--polygons takes the box around it" in capsys.readouterr().err
    assert main([*command, "--polygons"]) == 0
    assert f"next: edged-provision import '{tmp_path}/runs/my run/best.pt' --name 'my run'" in capsys.readouterr().out
    for split in ("train", "val"):
        assert f"{split}: 1 pictures that are unreadable or have defective labels are left out" in caplog.text
        assert f"{split}: the boxes around 1 polygons are taken" in caplog.text
