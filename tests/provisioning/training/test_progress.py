from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch

from provisioning.data.batches import BatchMaker
from provisioning.training.progress import Progress, Stopwatch, bar_values


def test_stopwatch_tells_rate_and_share_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((100.0, 104.0))
    monkeypatch.setattr("provisioning.training.progress.time.monotonic", lambda: next(clock))
    batches = SimpleNamespace(waited_s=99.0)  # of the epoch before
    stopwatch = Stopwatch(cast("BatchMaker", batches))
    batches.waited_s += 1.0
    assert stopwatch.read(20) == (5.0, 0.25, 4.0)


def test_bar_shows_losses_memory_and_waiting() -> None:
    shown = bar_values(Progress(loss_sums=(2.0, 1.0, 0.5), pictures=10), torch.device("cpu"), 0.034)
    memory = shown.pop("RAM")
    assert shown == {"box": "0.2000", "obj": "0.1000", "cls": "0.0500", "waiting": "3.4%"}
    assert 0 < float(memory.removesuffix("GB")) < 100
