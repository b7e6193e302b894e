"""Small trainings for the tests."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from provisioning.data.spec import read_spec
from provisioning.training.distributed import World
from provisioning.training.hyper import Hyper, OptimizerHyper
from provisioning.training.loop import Trainer
from provisioning.training.progress import Progress
from provisioning.training.settings import RESULTS, TrainSettings
from provisioning.training.setup import prepare

TIMES = {"pictures_per_s", "waiting_share", "seconds"}
ADAMW = Hyper(optimizer=OptimizerHyper(name="adamw", rate=0.002, momentum=0.9, nominal_batch=4))


def settings(data: Path, output: Path, **changes: Any) -> TrainSettings:
    values: dict[str, Any] = {"epochs": 2, "batch_size": 4, "side": 64, "workers": 1, "hyper": ADAMW, **changes}
    return TrainSettings(spec=read_spec(data), output=output, **values)


def trainer(asked: TrainSettings) -> Trainer:
    return Trainer(prepare(asked, World()), World())


def train(asked: TrainSettings) -> Progress:
    return trainer(asked).train()


def resumed(asked: TrainSettings) -> TrainSettings:
    return replace(asked, resume=True)


def rows(output: Path) -> list[dict[str, str]]:
    """The result table less what depends on the machine's load."""
    with (output / RESULTS).open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]
