"""Step 1 of the short run: the machine, the kernels' tests, the whole detector without TensorRT and its times."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.gpu import packages, tasks
from tests.gpu.short_run.common import Carried, run_step
from tests.gpu.steps import Plan

SECONDS = 170.0


def plan(carried: Carried) -> Plan:
    """What it does."""
    yield carried.receive("site")
    runner = carried.runner
    yield tasks.facts(runner)
    yield tasks.gpu_tests(runner, "kernels", tasks.ALL_TESTS, "--durations", "8", limit_s=90.0)
    yield runner.module("detector", "tests.gpu.short_run.detector", needs=packages.DETECTOR, figures=True, limit_s=60.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    return run_step(1, plan, arguments, seconds=SECONDS, about=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
