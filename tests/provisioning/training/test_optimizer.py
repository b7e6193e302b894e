from __future__ import annotations

import pytest
import torch
from torch import nn

from provisioning.model.network import build
from provisioning.training.hyper import EmaHyper, OptimizerHyper, ScheduleHyper
from provisioning.training.optimizer import MovingAverage, Schedule, accumulation, make_optimizer


def schedule(**changes: object) -> Schedule:
    values: dict[str, object] = {"shape": "cosine", "final_rate": 0.1, "warmup_epochs": 2.0, **changes}
    return Schedule(ScheduleHyper(**values), OptimizerHyper(rate=0.01), epochs=20, steps=100, batch_size=16)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_schedule_falls_from_the_first_to_the_final_rate(shape: str) -> None:
    factors = [schedule(shape=shape).factor(tenth / 20) for tenth in range(21)]
    assert factors[0] == 1
    assert factors[10] == pytest.approx(0.55)
    assert factors[20] == pytest.approx(0.1)
    assert factors == sorted(factors, reverse=True)


def test_schedule_warms_up() -> None:
    optimizer = make_optimizer(build("n", classes=1), OptimizerHyper(rate=0.01), batch_size=16)
    plan = schedule()
    plan.apply(optimizer, number=0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.0, 0.0]
    assert optimizer.param_groups[0]["momentum"] == 0.8
    assert plan.accumulate(0) == 1
    plan.apply(optimizer, number=200)
    expected = 0.01 * plan.factor(0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected] * 3)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.937)
    assert plan.accumulate(200) == 4


def test_schedule_follows_the_clock_where_it_is_ahead() -> None:
    optimizer = make_optimizer(build("n", classes=1), OptimizerHyper(), batch_size=16)
    plan = schedule(warmup_epochs=0.0)
    plan.apply(optimizer, number=1000, clock=0.2)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * plan.factor(0.5))
    plan.apply(optimizer, number=1000, clock=0.9)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * plan.factor(0.9))


def test_schedule_without_warmup_starts_at_once() -> None:
    assert schedule(warmup_epochs=0.0).warmup_steps == 0
    assert schedule(warmup_epochs=0.0).accumulate(0) == 4


def test_schedule_of_a_short_run_warms_up_a_third_of_it() -> None:
    short = Schedule(ScheduleHyper(), OptimizerHyper(), epochs=2, steps=6, batch_size=16)
    assert short.warmup_steps == 4


@pytest.mark.parametrize(("batch", "expected"), [(1, 64), (16, 4), (64, 1), (100, 1)])
def test_accumulation_reaches_the_nominal_batch(batch: int, expected: int) -> None:
    assert accumulation(batch, 64) == expected


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_optimizer_decays_convolutions_only(name: str) -> None:
    model = build("n", classes=1)
    optimizer = make_optimizer(model, OptimizerHyper(name=name), batch_size=64)
    sizes = [sum(parameter.numel() for parameter in group["params"]) for group in optimizer.param_groups]
    assert sum(sizes) == sum(parameter.numel() for parameter in model.parameters())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0, 0.0005, 0]
    assert all(parameter.ndim == 4 for parameter in optimizer.param_groups[1]["params"])


def test_moving_average_approaches_the_weights() -> None:
    model = build("n", classes=1)
    average = MovingAverage(model, EmaHyper(decay=0.9, tau=1.0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    name, before = next(iter(average.model.state_dict().items()))
    start = before.clone()
    for _ in range(80):
        average.update(model)
    gap = (average.model.state_dict()[name] - start).mean()
    assert gap == pytest.approx(1.0, abs=1e-3)
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_moving_average_of_the_first_steps_is_near_the_weights() -> None:
    model = build("n", classes=1)
    average = MovingAverage(model, EmaHyper())
    nn.init.ones_(model.detect.m[0].bias)  # type: ignore[arg-type]
    average.update(model)
    assert average.model.state_dict()["model.24.m.0.bias"].mean() == pytest.approx(1.0, abs=0.01)
