"""The optimiser, the schedule of its learning rates, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from provisioning.model.network import Yolov5
from provisioning.training.hyper import EmaHyper, OptimizerHyper, ScheduleHyper

MIN_WARMUP_STEPS = 100
_BIASES = 0  # index of the biases' group


def make_optimizer(model: nn.Module, hyper: OptimizerHyper, *, batch_size: int) -> torch.optim.Optimizer:
    """SGD or AdamW with three groups: biases, convolution weights (only these decay), normalisation weights.

    `batch_size` is that of all processes together; the decay is scaled to it.
    """
    biases, weights, norms = [], [], []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                biases.append(parameter)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  # the only base of all of them
                norms.append(parameter)
            else:
                weights.append(parameter)
    decay = hyper.weight_decay * batch_size * accumulation(batch_size, hyper.nominal_batch) / hyper.nominal_batch
    groups = [
        {"params": biases, "weight_decay": 0.0},
        {"params": weights, "weight_decay": decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    if hyper.name == "adamw":
        return torch.optim.AdamW(groups, lr=hyper.rate, betas=(hyper.momentum, 0.999), weight_decay=0.0)
    return torch.optim.SGD(groups, lr=hyper.rate, momentum=hyper.momentum, nesterov=True)


def accumulation(batch_size: int, nominal: int) -> int:
    """Number of batches whose gradients are accumulated for one step, so that it sees about `nominal` pictures."""
    return max(1, round(nominal / batch_size))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rates, momentum and accumulation as a function of the batch number, so that a resumed run repeats them.

    Attributes:
        hyper: shape of the schedule, and warm-up.
        optimizer: rate, momentum and nominal batch after the warm-up.
        epochs: of the run.
        steps: batches in an epoch.
        batch_size: of all processes together.
    """

    hyper: ScheduleHyper
    optimizer: OptimizerHyper
    epochs: int
    steps: int
    batch_size: int

    def factor(self, passed: float) -> float:
        """Factor of the learning rate after the warm-up: from 1 (`passed` = 0) to `final_rate` (`passed` = 1)."""
        fall = (1 - math.cos(math.pi * passed)) / 2 if self.hyper.shape == "cosine" else passed
        return 1 + (self.hyper.final_rate - 1) * fall

    @property
    def warmup_steps(self) -> int:
        """Batches of the warm-up: 0 if it is off, at most a third of the run."""
        if not self.hyper.warmup_epochs:
            return 0
        wanted = max(round(self.hyper.warmup_epochs * self.steps), MIN_WARMUP_STEPS)
        return min(wanted, self.epochs * self.steps // 3)

    def accumulate(self, number: int) -> int:
        """Batches to accumulate for a step, at batch `number` of the run; rises from 1 during the warm-up."""
        full = accumulation(self.batch_size, self.optimizer.nominal_batch)
        return max(1, round(1 + (full - 1) * self._warmed(number)))

    def apply(self, optimizer: torch.optim.Optimizer, *, number: int, clock: float = 0.0) -> None:
        """Set rates and momentum for batch `number` of the run.

        Args:
            optimizer: from `make_optimizer`.
            number: from 0.
            clock: share of a time limit that has passed; it is used if it is larger than the share of epochs.
        """
        warmed = self._warmed(number)
        rate = self.optimizer.rate * self.factor(min(1.0, max(clock, number / (self.steps * self.epochs))))
        momentum = self.hyper.warmup_momentum + (self.optimizer.momentum - self.hyper.warmup_momentum) * warmed
        for place, group in enumerate(optimizer.param_groups):
            start = self.hyper.warmup_bias_rate if place == _BIASES and self.optimizer.name == "sgd" else 0.0
            group["lr"] = start + (rate - start) * warmed
            if "momentum" in group:
                group["momentum"] = momentum

    def _warmed(self, number: int) -> float:
        return min(1.0, number / self.warmup_steps) if self.warmup_steps else 1.0


class MovingAverage:
    """An exponential moving average of a model's weights and statistics (Polyak averaging).

    Args:
        model: copied; the copy is in evaluation mode.
        hyper: decay, and how fast it is reached.
        updates: number of earlier updates, of a resumed run.

    Attributes:
        model: has the averaged weights.
        updates: number of updates so far.
    """

    def __init__(self, model: Yolov5, hyper: EmaHyper, *, updates: int = 0) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
        self.updates = updates
        self._hyper = hyper

    @torch.no_grad()
    def update(self, model: Yolov5) -> None:
        """Move the average towards `model`."""
        self.updates += 1
        decay = self._hyper.decay * (1 - math.exp(-self.updates / self._hyper.tau))
        current = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.dtype.is_floating_point:
                average.lerp_(current[name].detach().to(average.dtype), 1 - decay)
            else:
                average.copy_(current[name])
