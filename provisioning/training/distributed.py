"""Several processes as one training: joining, sums over all of them, batch normalisation over the whole batch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from edged.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together, as `torchrun` starts them.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        local_rank: of this process on its machine: its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, without a gradient."""
        total = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:  # noqa: FBT001  # a question about one truth value
        """Whether `flag` holds in any process."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag))).item()) if dist.get_backend() == "gloo" else self._any_gpu(flag)

    def _any_gpu(self, flag: bool) -> bool:  # noqa: FBT001
        return bool(self.sum(torch.tensor(float(flag), device=f"cuda:{self.local_rank}")).item())


@contextlib.contextmanager
def joined_world(device: str) -> Iterator[World]:
    """Join the other processes when started by `torchrun`, else be alone.

    Args:
        device: `cpu` or `cuda...`: chooses gloo or NCCL.

    Raises:
        UsageError: `torchrun` gave an environment that cannot be used.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield World()
        return
    try:
        dist.init_process_group("gloo" if device == "cpu" else "nccl")
    except (RuntimeError, ValueError) as exc:
        raise UsageError(f"cannot join the other processes: {exc}", remedy="start all of them with torchrun") from exc
    try:
        yield World(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        dist.destroy_process_group()


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batches of all processes; torch's own `SyncBatchNorm` works on GPUs only.

    The shares of all processes are of one size, so the mean of their means is the mean.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        sums = torch.stack((x.sum((0, 2, 3)), x.square().sum((0, 2, 3))))  # (2, C)
        moments = cast("Tensor", all_reduce(sums)) / count  # type: ignore[no-untyped-call]
        mean, variance = moments[0], (moments[1] - moments[0].square()).clamp(min=0)
        self._remember(mean.detach(), variance.detach() * count / max(1, count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            raise TypeError("batch normalisation without running statistics")
        share = self.momentum or 0.0
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
        self.num_batches_tracked += 1


def synchronise_normalisation(model: nn.Module, world: World) -> None:
    """Make every batch normalisation of `model` count the whole batch, in place; parameters stay the same objects."""
    if world.size == 1:
        return
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm2d if next(module.parameters()).device.type == "cpu" else module.__class__
