from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from provisioning.data.rendered import render_dataset
from provisioning.model.checkpoint import read_checkpoint
from provisioning.model.network import Yolov5, build
from provisioning.model.torch_checkpoint import as_tensors, checkpoint_of, save_checkpoint
from provisioning.training.distributed import SyncedBatchNorm2d, World
from provisioning.training.memory import CPU_BATCH
from provisioning.training.settings import LAST
from provisioning.training.setup import prepare
from tests.provisioning.training import runs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    render_dataset(folder, train=4, val=1, seed=2)
    return folder / "data.yaml"


def test_automatic_batch_is_found_for_the_very_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the weights that are trained, not of --model; and trying it leaves their statistics alone."""
    tried: list[Yolov5] = []

    def choose(model: Yolov5, **_options: object) -> int:
        tried.append(model)
        model(torch.ones(2, 3, 64, 64))
        return 8

    monkeypatch.setattr("provisioning.training.setup.choose_batch_size", choose)
    save_checkpoint(tmp_path / "s.pt", checkpoint_of(build("s", classes=1), names=("person",)))
    run = prepare(runs.settings(data, tmp_path / "run", batch_size=0, weights=tmp_path / "s.pt"), World())
    assert run.settings.batch_size == 8
    assert tried[0].description.size == "s"
    before = as_tensors(read_checkpoint(tmp_path / "s.pt").state)
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


def test_automatic_batch_of_a_resumed_run_is_the_one_it_had(data: Path, tmp_path: Path) -> None:
    asked = runs.settings(data, tmp_path / "run", epochs=1, batch_size=2)
    runs.train(asked)
    run = prepare(replace(asked, batch_size=0, resume=True), World())
    assert run.settings.batch_size == 2
    assert prepare(replace(asked, output=tmp_path / "new", batch_size=0), World()).settings.batch_size == CPU_BATCH
    assert (tmp_path / "run" / LAST).is_file()


@pytest.mark.parametrize("kind", [SyncedBatchNorm2d, nn.BatchNorm2d])
def test_processes_normalise_together_unless_told_otherwise(data: Path, tmp_path: Path, kind: type[nn.Module]) -> None:
    alone = kind is nn.BatchNorm2d
    asked = runs.settings(data, tmp_path / "run", batch_size=2, local_normalisation=alone)
    run = prepare(asked, World(rank=0, size=2))
    assert {type(module) for module in run.model.modules() if isinstance(module, nn.BatchNorm2d)} == {kind}
