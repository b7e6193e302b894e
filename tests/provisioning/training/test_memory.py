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


def test_out_of_memory_names_the_batch_size_to_try() -> None:
    with (
        pytest.raises(EdgedError, match="a batch of 64; try --batch-size 32"),
        translated_out_of_memory(64),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
