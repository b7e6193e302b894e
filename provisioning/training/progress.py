"""Where a training run is: what a checkpoint holds of it beside weights and optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
