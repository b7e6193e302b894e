"""Where a training run is: what a checkpoint holds of it beside weights and optimiser, and what the bar shows."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from provisioning.data.batches import BatchMaker

_PARTS = ("box", "obj", "cls")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is; plain numbers, kept in every checkpoint.

    Attributes:
        epoch: the one under way, from 0.
        step: batches of it that are done.
        loss_sums: of it, times pictures.
        pictures: of it, seen.
        best: fitness of the best epoch so far; -1 before the first.
        best_epoch: its number.
        trained_s: time spent on it, in all of its sessions.
        finished: the run ended as planned or stopped early.
    """

    epoch: int = 0
    step: int = 0
    loss_sums: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pictures: int = 0
    best: float = -1.0
    best_epoch: int = 0
    trained_s: float = 0.0
    finished: bool = False

    def to_plain(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Progress:
        """The inverse of `to_plain`."""
        return cls(**{**plain, "loss_sums": tuple(plain["loss_sums"])})


class Timing(NamedTuple):
    """How fast an epoch was trained, evaluation not counted.

    Attributes:
        pictures_per_s: seen by all processes.
        waiting_share: of the time, 0..1, in which a step waited for its batch.
        seconds: in all.
    """

    pictures_per_s: float
    waiting_share: float
    seconds: float


class Stopwatch:
    """Times an epoch from now on, and its waiting for batches."""

    def __init__(self, batches: BatchMaker) -> None:
        self._batches = batches
        self._batches.waited_s = 0.0
        self._started_s = time.monotonic()

    def read(self, pictures: int) -> Timing:
        """So far, with this many pictures seen since the start."""
        seconds = max(time.monotonic() - self._started_s, 1e-9)
        return Timing(pictures / seconds, self._batches.waited_s / seconds, seconds)


def bar_values(progress: Progress, device: torch.device, waiting_share: float) -> dict[str, str]:
    """Losses so far, the most memory held so far, and the share of time spent waiting for batches."""
    shown = {name: f"{total / progress.pictures:.4f}" for name, total in zip(_PARTS, progress.loss_sums, strict=True)}
    if device.type == "cuda":
        shown["GPU"] = f"{torch.cuda.max_memory_reserved(device) / 1e9:.1f}GB"
    else:
        shown["RAM"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.1f}GB"
    shown["waiting"] = f"{waiting_share:.1%}"
    return shown
