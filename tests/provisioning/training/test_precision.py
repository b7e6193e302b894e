from __future__ import annotations

from pathlib import Path

import pytest
import torch

from provisioning.data.rendered import render_dataset
from provisioning.model.checkpoint import read_checkpoint
from provisioning.training.hyper import Hyper, OptimizerHyper, ScheduleHyper
from provisioning.training.settings import LAST
from tests.provisioning.training import runs

PICTURES = 10


def test_training_in_mixed_precision_moves_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision and the scaled loss as on a GPU, run by the CPU: the same step as in full precision, rounded."""
    render_dataset(tmp_path, train=PICTURES, val=1, seed=11)
    plain = Hyper(optimizer=OptimizerHyper(rate=0.01, nominal_batch=PICTURES), schedule=ScheduleHyper(warmup_epochs=0))
    moved, losses = [], []
    for mixed in (False, True):
        monkeypatch.setattr("provisioning.training.loop.mixed_precision", lambda _device, mixed=mixed: mixed)
        asked = runs.settings(
            tmp_path / "data.yaml", tmp_path / str(mixed), epochs=1, batch_size=PICTURES, side=128, hyper=plain
        )
        trainer = runs.trainer(asked)
        head = trainer._run.model.get_parameter("model.24.m.0.weight")
        before = head.detach().clone()
        trainer.train()
        moved.append((head.detach() - before).flatten())
        losses.append([float(runs.rows(asked.output)[0][name]) for name in ("box_loss", "objectness_loss")])
    assert torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0) > 0.99
    assert float(moved[1].norm()) == pytest.approx(float(moved[0].norm()), rel=0.02)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)  # objectness depends on few cells here
    assert losses[1] != losses[0]
    training = read_checkpoint(tmp_path / "True" / LAST, training=True).training
    assert training["scaler"]["scale"] > 1  # type: ignore[index]
