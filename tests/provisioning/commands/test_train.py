from __future__ import annotations

from pathlib import Path

import pytest

from provisioning.__main__ import main
from provisioning.data.rendered import render_dataset
from provisioning.training.hyper import DEFAULTS


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
