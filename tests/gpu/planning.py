"""Plans of GPU steps gone through without running them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.gpu.steps import PASSED, Outcome, Plan, Step


def planned(
    plan: Plan, figures: Mapping[str, object] | None = None, states: Mapping[str, str] | None = None
) -> dict[str, Step]:
    """Every step of a plan by name.

    Args:
        plan: is gone through.
        figures: by step, what it gives.
        states: by step, what becomes of it; `passed` where not given.
    """
    figures, states = figures or {}, states or {}
    steps = [next(plan)]
    try:
        while True:
            name = steps[-1].name
            steps.append(plan.send(Outcome(name, states.get(name, PASSED), 0.0, "", (), figures.get(name))))
    except StopIteration:
        return {step.name: step for step in steps}
