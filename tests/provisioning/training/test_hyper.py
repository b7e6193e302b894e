from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import ConfigError
from provisioning.training.hyper import DEFAULTS, Hyper, read_hyper


def test_hyper_defaults_are_those_of_the_file() -> None:
    assert read_hyper(DEFAULTS) == Hyper() == read_hyper(None)


def test_hyper_file_explains_every_value() -> None:
    lines = [line for line in DEFAULTS.read_text().splitlines() if "=" in line.split("#")[0]]
    assert len(lines) > 30
    assert [line for line in lines if "#" not in line] == []


def test_hyper_reads_nested_tables(tmp_path: Path) -> None:
    file = tmp_path / "hyper.toml"
    file.write_text("[optimizer]\nrate = 0.5\n[augment.affine]\ndegrees = 5\n")
    hyper = read_hyper(file)
    assert (hyper.optimizer.rate, hyper.augment.affine.degrees) == (0.5, 5)
    assert hyper.to_plain()["augment"]["affine"]["degrees"] == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[optimizer]\nrat = 1", r'optimizer: rat: unknown key; did you mean "rate"\?', id="unknown key"),
        pytest.param("[x]\na = 1", "x: unknown key; known: augment, ema", id="unknown table"),
        pytest.param("optimizer = 1", "must be a table", id="no table"),
        pytest.param("[optimizer]\nrate = 0", "must be in 1e-09 to 10, got 0", id="too small"),
        pytest.param("[optimizer]\nrate = nan", "must be in", id="NaN"),
        pytest.param("[optimizer]\nrate = true", "must be a number", id="truth value"),
        pytest.param("[optimizer]\nnominal_batch = 1.5", "must be an integer", id="fraction"),
        pytest.param("[optimizer]\nname = 'adam'", "must be sgd or adamw, got 'adam'", id="unknown choice"),
        pytest.param("[optimizer", "not valid TOML", id="not TOML"),
    ],
)
def test_hyper_refuses(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "hyper.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_hyper(file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_hyper_that_a_windows_editor_saved(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "hyper.toml"
    file.write_text("# für später\n[optimizer]\nrate = 0.5\n", encoding)
    assert read_hyper(file).optimizer.rate == 0.5


def test_hyper_names_what_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "hyper.toml"
    file.write_text("[optimizer]\n# 物体\n", "gbk")
    with pytest.raises(ConfigError, match=r"hyper\.toml: line 2 is not UTF-8"):
        read_hyper(file)


def test_hyper_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_hyper(tmp_path / "nothing.toml")
