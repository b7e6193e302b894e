"""Batch sizes that fit a GPU: measured, not guessed; and what to try when the memory ran out after all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from edged.core.errors import EdgedError, UsageError
from provisioning.model.network import Yolov5

CPU_BATCH = 16
_PROBES = (1, 2, 4, 8, 16)
_SHARE = 0.75  # of the free memory: what the allocator and other programs need stays free
_LARGEST = 1024


def choose_batch_size(model: Yolov5, *, side: int, device: torch.device) -> int:
    """The largest batch that should fit, from the measured need of small ones; `CPU_BATCH` on a CPU.

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
    """Extrapolate a straight line through (pictures, bytes) to `budget` bytes.

    Raises:
        UsageError: fewer than two measurements, or less than one picture fits.
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
    """Turn the errors of a full memory into the batch size to try.

    Args:
        batch_size: the present one, of all processes together; 0 while none is known.
        processes: that share it.

    Raises:
        EdgedError: the memory, of the GPU or of the machine, did not suffice.
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
    """NVIDIA's libraries have words of their own for it, and so has torch on a CPU."""
    signs = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory")
    return isinstance(exc, (torch.OutOfMemoryError, MemoryError)) or any(sign in str(exc) for sign in signs)


def _is_of_gpu(exc: Exception) -> bool:
    return isinstance(exc, torch.OutOfMemoryError) or any(sign in str(exc) for sign in ("CUDA", "CUDNN", "CUBLAS"))


def _need(model: Yolov5, count: int, side: int, device: torch.device) -> int:
    """Peak bytes of one forward and backward pass."""
    torch.cuda.reset_peak_memory_stats(device)
    images = torch.zeros((count, 3, side, side), device=device)
    with torch.autocast("cuda", torch.float16):
        heads = model(images)
    torch.autograd.backward([torch.stack([head.float().mean() for head in heads]).sum()])
    model.zero_grad(set_to_none=True)
    return torch.cuda.max_memory_reserved(device)
