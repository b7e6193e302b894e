"""Writes the results of epochs: to CSV and TensorBoard, and to Weights & Biases if asked."""

from __future__ import annotations

import math
from dataclasses import asdict
from importlib import import_module
from typing import Any

from edged.core.errors import UsageError
from provisioning.training.events import EventFile
from provisioning.training.results import EpochResult, ResultsFile
from provisioning.training.settings import EVENTS, RESULTS, TrainSettings

_TAGS = {
    "box_loss": "train/box_loss",
    "objectness_loss": "train/obj_loss",
    "class_loss": "train/cls_loss",
    "precision": "metrics/precision",
    "recall": "metrics/recall",
    "map50": "metrics/mAP50",
    "map50_95": "metrics/mAP50-95",
    "rate": "x/rate",
    "pictures_per_s": "x/pictures_per_s",
    "waiting_share": "x/waiting_share",
}


class Reports:
    """Writes the result of each epoch to all reports of a run.

    Args:
        settings: of the run.
        first_epoch: epoch at which this session starts; the CSV's lines from it on are removed.

    Raises:
        EdgedError: a report cannot be written.
        UsageError: Weights & Biases was asked for, but is not installed or does not start.
    """

    def __init__(self, settings: TrainSettings, *, first_epoch: int) -> None:
        self._csv = ResultsFile(settings.output / RESULTS, keep_before=first_epoch)
        self._events = EventFile(settings.output / EVENTS)
        self._wandb = _start_wandb(settings) if settings.wandb else None

    def add(self, result: EpochResult) -> None:
        """Add one epoch; values that are not finite are left out, except in the CSV.

        Raises:
            EdgedError: a report cannot be written.
        """
        self._csv.append(result)
        values = {_TAGS[key]: value for key, value in asdict(result).items() if key in _TAGS and math.isfinite(value)}
        self._events.scalars(values, step=result.epoch)
        if self._wandb is not None:
            self._wandb.log(values, step=result.epoch)

    def close(self) -> None:
        """Finish the report to Weights & Biases, if there is one."""
        if self._wandb is not None:
            self._wandb.finish()


def _start_wandb(settings: TrainSettings) -> Any:  # noqa: ANN401  # an optional package without types
    try:
        wandb = import_module("wandb")
    except ImportError as exc:
        raise UsageError("--wandb needs the package wandb", remedy="pip install wandb") from exc
    try:
        return wandb.init(project=settings.wandb, name=settings.output.name, config=settings.identity(), resume="allow")
    except Exception as exc:  # wandb's own errors: no account, no network
        raise UsageError(
            f"Weights & Biases does not start: {' '.join(str(exc).split())[:200]}",
            remedy="log in with `wandb login`, or set WANDB_MODE=offline",
        ) from exc
