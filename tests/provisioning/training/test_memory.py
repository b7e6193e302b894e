from __future__ import annotations

import pytest
import torch

from edged.core.errors import EdgedError, UsageError
from provisioning.model.network import build
from provisioning.training.memory import CPU_BATCH, batch_that_fits, choose_batch_size, translated_out_of_memory


def test_batch_that_fits_extrapolates_a_line() -> None:
    needs = [(count, 1000 + 100 * count) for count in (1, 2, 4, 8)]
    assert batch_that_fits(needs, budget=5050) == 40


@pytest.mark.parametrize("needs", [[], [(1, 100)], [(1, 10_000), (2, 20_000)]])
def test_batch_that_fits_refuses_what_cannot(needs: list[tuple[int, int]]) -> None:
    with pytest.raises(UsageError, match="no memory"):
        batch_that_fits(needs, budget=5000)


def test_choose_batch_size_on_a_cpu_is_fixed() -> None:
    assert choose_batch_size(build("n", classes=1), side=64, device=torch.device("cpu")) == CPU_BATCH


GPU = torch.OutOfMemoryError("CUDA out of memory")
CUDNN = RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
CPU = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.parametrize(
    ("error", "batch", "processes", "message"),
    [
        pytest.param(GPU, 64, 1, "out of GPU memory with a batch of 64; try --batch-size 32, or", id="GPU"),
        pytest.param(CUDNN, 64, 1, "out of GPU memory with a batch of 64; try --batch-size 32, or", id="cuDNN"),
        pytest.param(CPU, 16, 1, "out of memory with a batch of 16; try --batch-size 8$", id="CPU"),
        pytest.param(MemoryError(), 16, 1, "out of memory with a batch of 16; try --batch-size 8$", id="Python"),
        pytest.param(GPU, 18, 4, "a batch of 18; try --batch-size 8, or", id="a batch that four can share"),
        pytest.param(GPU, 1, 1, "a batch of 1; choose a smaller --size or --model", id="nothing smaller"),
        pytest.param(GPU, 0, 1, "out of GPU memory; choose a smaller --size or --model", id="before a batch"),
    ],
)
def test_out_of_memory_names_the_batch_size_to_try(error: Exception, batch: int, processes: int, message: str) -> None:
    with pytest.raises(EdgedError, match=message), translated_out_of_memory(batch, processes=processes):
        raise error


def test_out_of_memory_translates_nothing_else() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), translated_out_of_memory(4):
        raise RuntimeError("shapes differ")
