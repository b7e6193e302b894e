from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edged.core.errors import EdgedError, UsageError
from provisioning.data.spec import DataSpec
from provisioning.training.reports import Reports
from provisioning.training.results import EpochResult, ResultsFile
from provisioning.training.settings import RESULTS, TrainSettings


def result(epoch: int, *, map50: float = 0.5) -> EpochResult:
    return EpochResult(epoch, 0.1, 0.2, 0.3, 0.4, 0.5, map50, 0.25, 0.01, 20.0, 0.0, 3.0)


def settings(folder: Path, **changes: Any) -> TrainSettings:
    return TrainSettings(spec=DataSpec(folder / "d.yaml", {}, ("a",)), output=folder / "run", **changes)


def test_fitness_weighs_the_strict_thresholds_most() -> None:
    assert result(0).fitness == pytest.approx(0.1 * 0.5 + 0.9 * 0.25)


def test_results_of_a_resumed_run_replace_later_lines(tmp_path: Path) -> None:
    path = tmp_path / RESULTS
    first = ResultsFile(path, keep_before=0)
    for epoch in range(4):
        first.append(result(epoch))
    second = ResultsFile(path, keep_before=2)
    second.append(result(2, map50=0.75))
    lines = path.read_text().splitlines()
    assert lines[0].startswith("epoch,box_loss,objectness_loss,class_loss,precision,recall,map50,map50_95,rate")
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2"]
    assert lines[3].split(",")[6] == "0.75"


def test_results_of_a_new_run_start_anew(tmp_path: Path) -> None:
    path = tmp_path / RESULTS
    path.write_text("something else\n")
    ResultsFile(path, keep_before=0).append(result(0))
    assert len(path.read_text().splitlines()) == 2


def test_results_name_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(EdgedError, match="cannot be written"):
        ResultsFile(tmp_path / "missing" / RESULTS, keep_before=0)


def test_reports_go_to_weights_and_biases_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package, which is optional: what is started, logged and ended."""
    calls: list[Any] = []
    run = SimpleNamespace(log=lambda values, step: calls.append((step, values)), finish=lambda: calls.append("finish"))

    def init(**options: Any) -> SimpleNamespace:
        calls.append(options)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    (tmp_path / "run").mkdir()
    reports = Reports(settings(tmp_path, wandb="yard"), first_epoch=0)
    reports.add(result(0, map50=math.nan))
    reports.close()
    options, (step, values), end = calls
    assert (options["project"], options["name"], options["config"]["seed"]) == ("yard", "run", 0)
    assert (step, end) == (0, "finish")
    assert values["train/box_loss"] == 0.1
    assert "metrics/mAP50" not in values  # that epoch was not evaluated


def test_reports_say_how_to_get_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="needs the package wandb; pip install wandb"):
        Reports(settings(tmp_path, wandb="yard"), first_epoch=0)


def test_reports_say_why_weights_and_biases_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_options: Any) -> None:
        raise ValueError("No API key configured.")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match=r"does not start: No API key configured\.; log in with `wandb login`"):
        Reports(settings(tmp_path, wandb="yard"), first_epoch=0)
