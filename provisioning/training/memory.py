"""Measures which batch size fits a GPU; turns errors of a full memory into advice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from edged.core.errors import EdgedError, UsageError
from provisioning.model.network import Yolov5

CPU_BATCH = 16
_PROBES = (1, 2, 4, 8, 16)
_SHARE = 0.75  # of the free memory; the rest is for the allocator and other programs
_LARGEST = 1024


def choose_batch_size(model: Yolov5, *, side: int, device: torch.device) -> int:
    """The largest batch that should fit, extrapolated from the memory of small ones; `CPU_BATCH` on a CPU.

    Raises:
        UsageError: not even two pictures fit.
    """
    if device.type == "cpu":
        return CPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    needs: list[tuple[int, int]] = []
    for count in _PROBES:
        try:
            needs.append((count, _need(model, count, side, device)))
        except torch.OutOfMemoryError:
            break
    torch.cuda.empty_cache()
    return batch_that_fits(needs, budget=round(free * _SHARE))


def batch_that_fits(needs: Sequence[tuple[int, int]], *, budget: int) -> int:
    """The batch size, up to _LARGEST, whose memory by a straight line through `needs` is `budget` bytes.

    Args:
        needs: pairs of pictures and bytes.
        budget: bytes.

    Raises:
        UsageError: there are fewer than two pairs, or not even one picture fits.
    """
    if len(needs) < 2:  # noqa: PLR2004  # a line needs two points
        raise UsageError("the GPU has no memory for two pictures", remedy="choose a smaller --size or --model")
    slope, start = np.polyfit([count for count, _ in needs], [need for _, need in needs], 1)
    fits = int((budget - start) / max(slope, 1.0))
    if fits < 1:
        raise UsageError("the GPU has no memory for a picture", remedy="choose a smaller --size or --model")
    return min(fits, _LARGEST)


@contextlib.contextmanager
def translated_out_of_memory(batch_size: int, *, processes: int = 1) -> Iterator[None]:
    """Turn errors of a full memory into one that says which batch size to try.

    Args:
        batch_size: the present one, of all processes together; 0 if it is not known yet.
        processes: number of processes that share the batch.

    Raises:
        EdgedError: the memory of the GPU or of the machine was not enough.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not _is_out_of_memory(exc):
            raise
        kind = "GPU memory" if _is_of_gpu(exc) else "memory"
        smaller = batch_size // 2 // processes * processes
        raise EdgedError(
            f"out of {kind} with a batch of {batch_size}" if batch_size else f"out of {kind}",
            remedy=f"try --batch-size {smaller}" + (", or --batch-size auto" if _is_of_gpu(exc) else "")
            if smaller
            else "choose a smaller --size or --model",
        ) from exc


def _is_out_of_memory(exc: Exception) -> bool:
    """By type or text: NVIDIA's libraries, and torch on a CPU, have messages of their own."""
    signs = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory")
    return isinstance(exc, (torch.OutOfMemoryError, MemoryError)) or any(sign in str(exc) for sign in signs)


def _is_of_gpu(exc: Exception) -> bool:
    return isinstance(exc, torch.OutOfMemoryError) or any(sign in str(exc) for sign in ("CUDA", "CUDNN", "CUBLAS"))


def _need(model: Yolov5, count: int, side: int, device: torch.device) -> int:
    """Peak bytes of GPU memory in one forward and backward pass of `count` pictures."""
    torch.cuda.reset_peak_memory_stats(device)
    images = torch.zeros((count, 3, side, side), device=device)
    with torch.autocast("cuda", torch.float16):
        heads = model(images)
    torch.autograd.backward([torch.stack([head.float().mean() for head in heads]).sum()])
    model.zero_grad(set_to_none=True)
    return torch.cuda.max_memory_reserved(device)
