"""From labelled pictures to the active bundle by one command, with a real training."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.types import Thresholds
from edged.cpu.detector import CpuDetector
from provisioning.build import find
from provisioning.data.rendered import render_dataset
from provisioning.recipe.run import Outcome, run_recipe
from provisioning.recipe.settings import ProvisionSettings
from provisioning.store import Store


def provision(folder: Path) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    settings = ProvisionSettings.model_validate(
        {
            "name": "scenes",
            "dataset": str(folder / "data"),
            "train_arguments": ["--epochs", "2", "--batch-size", "4", "--workers", "0"],
            "size": "64",
            "precision": "fp32",
            "store": str(folder / "store"),
            "work": str(folder / "work"),
        }
    )
    return run_recipe(settings, force=False, dry_run=False, say=said.append), said


@pytest.mark.timeout(400)
def test_recipe_trains_on_a_data_set_once_and_again_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(find, "installed", tuple)
    render_dataset(tmp_path / "data", train=6, val=2, seed=1)
    outcome, said = provision(tmp_path)
    assert [line.split()[0] for line in said if "running" in line] == ["train", "export", "patch", "bundle"]
    assert capsys.readouterr().out == ""  # with --json it holds one JSON object
    assert any("2 epochs; best:" in line for line in said)
    bundle = Store(tmp_path / "store").active()
    assert bundle is not None
    assert (bundle.manifest.classes, bundle.manifest.input_wh) == (("person",), (64, 64))
    CpuDetector(bundle, thresholds=Thresholds()).close()

    outcome, said = provision(tmp_path)
    assert not outcome.changed
    assert not [line for line in said if "running" in line]

    label = min((tmp_path / "data" / "labels" / "train").glob("*.txt"))
    label.write_text("0 0.5 0.5 0.25 0.5\n")
    outcome, said = provision(tmp_path)
    assert outcome.changed
    assert next(line.split()[0] for line in said if "running" in line) == "train"
    again = Store(tmp_path / "store").active()
    assert again is not None
    assert again.directory != bundle.directory
