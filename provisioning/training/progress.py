"""The progress of a training run, as kept in checkpoints and shown in the progress bar."""

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
    """The progress of a run; plain numbers, kept in every checkpoint.

    Attributes:
        epoch: current epoch, from 0.
        step: batches of this epoch that are done.
        loss_sums: box, objectness and class loss of this epoch, each summed over its pictures.
        pictures: pictures of this epoch that are done.
        best: fitness of the best epoch so far; -1 before the first.
        best_epoch: its number, from 0.
        trained_s: seconds of training, in all sessions.
        finished: whether the run has ended, as planned or early.
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
        """As a dictionary, for a checkpoint."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Progress:
        """The inverse of `to_plain`.

        Raises:
            KeyError, TypeError: `plain` has other keys or types.
        """
        return cls(**{**plain, "loss_sums": tuple(plain["loss_sums"])})


class Timing(NamedTuple):
    """Times of an epoch, without evaluation.

    Attributes:
        pictures_per_s: of all processes together.
        waiting_share: share of the time, 0..1, spent waiting for batches.
        seconds: whole time.
    """

    pictures_per_s: float
    waiting_share: float
    seconds: float


class Stopwatch:
    """Measures the time from its creation on, and the part of it spent waiting for batches."""

    def __init__(self, batches: BatchMaker) -> None:
        self._batches = batches
        self._batches.waited_s = 0.0
        self._started_s = time.monotonic()

    def read(self, pictures: int) -> Timing:
        """The times so far; `pictures` were trained since the start."""
        seconds = max(time.monotonic() - self._started_s, 1e-9)
        return Timing(pictures / seconds, self._batches.waited_s / seconds, seconds)


def bar_values(progress: Progress, device: torch.device, waiting_share: float) -> dict[str, str]:
    """Values for the progress bar: mean losses, peak memory, share of time spent waiting for batches."""
    shown = {name: f"{total / progress.pictures:.4f}" for name, total in zip(_PARTS, progress.loss_sums, strict=True)}
    if device.type == "cuda":
        shown["GPU"] = f"{torch.cuda.max_memory_reserved(device) / 1e9:.1f}GB"
    else:
        shown["RAM"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.1f}GB"
    shown["waiting"] = f"{waiting_share:.1%}"
    return shown
