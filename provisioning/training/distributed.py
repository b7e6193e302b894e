"""Joins several processes in one training: sums over all of them, batch normalisation over the whole batch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edged.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together, as `torchrun` starts them.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
        local_rank: of this process on its machine; also the index of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum of `value` over all processes, without a gradient."""
        total = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total

    def from_leader(self, value: float) -> float:
        """The `value` of the leading process, returned in all of them."""
        return float(self.sum(self._scalar(value if self.leads else 0.0)).item())

    def least(self, value: float) -> float:
        """The smallest `value` of all processes, returned in all of them."""
        smallest = self._scalar(value)
        if self.size > 1:
            dist.all_reduce(smallest, dist.ReduceOp.MIN)
        return float(smallest.item())

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:  # noqa: FBT001  # a question about one truth value
        """Whether `flag` holds in any process."""
        if self.size == 1:
            return flag
        return bool(self.sum(self._scalar(float(flag))).item())

    def _scalar(self, value: float) -> Tensor:
        on_gpu = self.size > 1 and dist.get_backend() != "gloo"
        return torch.tensor(value, dtype=torch.float64, device=f"cuda:{self.local_rank}" if on_gpu else "cpu")


@contextlib.contextmanager
def joined_world(device: str) -> Iterator[World]:
    """Join the other processes if `torchrun` started this one; otherwise give a world of one process.

    Args:
        device: `cpu` uses gloo, `cuda...` uses NCCL.

    Raises:
        UsageError: the other processes cannot be joined.
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


class _SumOverAll(torch.autograd.Function):
    """The sum of a tensor over all processes; the gradient is the sum of their gradients."""

    @staticmethod
    def forward(_context: object, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batches of all processes; unlike torch's own it also works on CPUs.

    All processes have batches of the same size, so that the count is that of one times the number of processes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if not self.training:
            return super().forward(x)
        wide = x.float()  # sums of squares exceed the range of half precision
        count = x.numel() // x.shape[1] * dist.get_world_size()
        sums = torch.stack((wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3))))  # (2, C)
        moments = cast("Tensor", _SumOverAll.apply(sums)) / count  # type: ignore[no-untyped-call, unused-ignore]
        mean, variance = moments[0], (moments[1] - moments[0].square()).clamp(min=0)
        self._remember(mean.detach(), variance.detach() * count / max(1, count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        y = wide * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        return y.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            raise TypeError("batch normalisation without running statistics")
        share = self.momentum or 0.0
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
        self.num_batches_tracked += 1


def synchronise_normalisation(model: nn.Module, world: World) -> None:
    """Replace every batch normalisation of `model`, in place, by one over all processes, with the same parameters."""
    if world.size == 1:
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _synced(child))


def _synced(norm: nn.BatchNorm2d) -> SyncedBatchNorm2d:
    synced = SyncedBatchNorm2d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    synced.weight, synced.bias = norm.weight, norm.bias
    synced.running_mean, synced.running_var = norm.running_mean, norm.running_var
    synced.num_batches_tracked = norm.num_batches_tracked
    return synced.train(norm.training)
